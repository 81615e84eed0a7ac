"""The curve of a router model: `batchyard router report --model`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from batchyard.cli.output import put_json, put_note
from batchyard.cli.savedview import signed, span, span_json
from batchyard.cli.scored_results import find_model, judged_file, judged_results
from batchyard.cli.show import out, plain, table
from batchyard.picture.drawing import Line, Mark, draw, mix_line
from core.errors import InputError
from routing.measuring.cost_quality import POINTS, Profile, profile
from routing.models.choice import ChoiceModel

SINGLES = ("ALWAYS", ">$/1,000", "QUALITY", "")
CURVE = (">$/1,000", "ROUTER", "BEST MIX OF TWO", "ROUTER ABOVE IT")
TOLD = range(0, POINTS, 4)
"""Points of the curve that people are told."""


def model_report(
    name: str,
    data: Path | None,
    *,
    text: str,
    prices: Path | None,
    scorer: str | None,
    project: str,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measures the model on the file, or on the project's scored results, and tells."""
    model = find_model(name, project)
    if not isinstance(model, ChoiceModel):
        raise InputError(f"{name}: is a model for {model.kind}. The curve is of one for choice")
    if data is not None:
        judged, folds = judged_file(model, data, text, prices)
    else:
        judged, folds = judged_results(model, project, scorer=scorer), True
    try:
        found = profile(judged)
    except ValueError as error:
        raise InputError(f"Nothing to draw a curve from: {error}.") from error
    told = _json(found, judged.data.costs, folds=folds, estimated=judged.estimated)
    if picture is not None:
        _draw(found, picture, title=f"{Path(name).stem}: quality at each cost", unit=_unit(told))
        told["picture"] = str(picture)
    if as_json:
        put_json(told)
        return
    for line in _lines(told, found):
        out().print(line, soft_wrap=True)
    out().print(table(CURVE, _points(found)))
    if picture is not None:
        put_note(f"{picture} drawn")


def _json(found: Profile, costs: str, *, folds: bool, estimated: bool) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "costs": costs,
        "held_back_folds": folds,
        "estimated": estimated,
        "best": found.names[found.best],
        "cheapest": found.names[found.cheapest],
        "candidates": [
            {"candidate": name, **span_json("quality", worth), **span_json("usd_per_1k", usd, 1000)}
            for name, (worth, usd) in zip(found.names, found.singles, strict=True)
        ],
        "curve": [
            {
                "usd_per_1k": 1000 * float(found.cost[at]),
                **span_json("quality", found.router[at]),
                **span_json("mix_quality", found.mix[at]),
                **span_json("gap", found.gap[at]),
            }
            for at in range(POINTS)
        ],
    }


def _unit(told: dict[str, Any]) -> str:
    if told["costs"] == "calls":
        return f"calls to {told['best']} in 1,000 requests (band: 95 %)"
    note = {"assumed": "assumed prices; ", "prices": "prices given; "}.get(told["costs"], "")
    return f"US dollars for 1,000 requests ({note}band: 95 %)"


def _lines(told: dict[str, Any], found: Profile) -> Iterator[Any]:
    how = "held-back folds of its own training" if told["held_back_folds"] else "as trained"
    made = ", missing scores estimated by propensities" if told["estimated"] else ""
    yield Text(
        f"{plain(found.rows)} judged prompts; predictions: {how}{made}; costs: {told['costs']}"
    )
    yield Text("")
    yield table(SINGLES, _singles(found))
    yield Text("")


def _singles(found: Profile) -> Iterator[list[str]]:
    for column, (worth, usd) in enumerate(found.singles):
        role = {found.cheapest: "cheapest", found.best: "best"}.get(column, "")
        yield [found.names[column], f"{1000 * usd.value:.4g}", span(worth), role]


def _points(found: Profile) -> Iterator[list[str]]:
    for at in (*TOLD, POINTS - 1):
        yield [
            f"{1000 * found.cost[at]:.4g}",
            span(found.router[at]),
            span(found.mix[at]),
            signed(found.gap[at]),
        ]


def _draw(found: Profile, path: Path, *, title: str, unit: str) -> None:
    roles = {found.cheapest: "always cheapest: ", found.best: "always best: "}
    marks = [
        Mark(
            f"{roles.get(column, '')}{found.names[column]}", 1000 * usd.value, worth.value,
            "reference" if column in roles else "single",
        )
        for column, (worth, usd) in enumerate(found.singles)
    ]  # fmt: skip
    ours = Line(
        "the router",
        (1000 * found.cost).tolist(),
        [one.value for one in found.router],
        "ours",
        [one.low for one in found.router],
        [one.high for one in found.router],
    )
    draw(path, [ours, *mix_line(marks)], marks, title=title, unit=unit)
