"""`batchyard router eval`."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.router.train import PricesOption, SomeDataOption
from batchyard.cli.scored_results import find_model, judged_results
from batchyard.embedded.home import Home
from batchyard.environment import settings_in_force
from batchyard.judged.choosing import for_model
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted
from batchyard.judged.tables import read_table
from batchyard.judged.understanding import examine
from core.errors import InputError
from core.ids import DEFAULT_PROJECT
from routing.batch.allocation import DoesNotFitError
from routing.measuring.budgets import budget_figures
from routing.measuring.cascade import cascade_figures
from routing.measuring.choice import measure
from routing.models.choice import ChoiceModel
from routing.models.intent import IntentModel
from routing.models.state import Model


@dataclass(frozen=True, slots=True)
class Source:
    """Where judged prompts come from: a file, or without one the project's scored results."""

    data: Path | None
    wanted: Wanted
    route: str | None
    scorer: str | None


def _choice(model: Model, source: Source, budgets: Sequence[float], project: str) -> dict[str, Any]:
    if not isinstance(model, ChoiceModel):
        raise InputError(f"The model is one for {model.kind}; budgets and results want choice.")
    began = time.process_time()
    if source.data is None:
        judged = judged_results(model, project, source.route, source.scorer)
        told, data = judged.told, judged.data
    else:
        data = for_model(read_table(source.data), model, source.wanted)
        began = time.process_time()
        told = model.predict(data.prompts, data.metadata)
    spent = max(time.process_time() - began, 1e-9)
    try:
        figures = measure(model, told, data)
        bought = budget_figures(told, data, budgets) if budgets else []
    except DoesNotFitError as error:
        raise InputError(f"--budget: {error}") from error
    except ValueError as error:
        raise InputError(f"Nothing to measure on: {error}.") from error
    values, measured = cascade_figures(model, data)
    figures.values.update(values, **{key: one.value for key, one in measured.items()})
    figures.intervals.update({key: (one.low, one.high) for key, one in measured.items()})
    if source.data is None:
        figures.values.update(held_back_folds=True, estimated=judged.estimated)
    else:
        figures.values["prompts_per_cpu_s"] = round(len(data) / spent, 1)
    return figures.told() | ({"budgets": bought} if bought else {})


# One parameter an option.
def evaluate(  # noqa: PLR0913
    *,
    model: Annotated[
        str, typer.Option("-m", "--model", help="What `train` wrote, or a name in the project.")
    ] = "",
    data: SomeDataOption = None,
    from_: Annotated[
        Literal["results"] | None,
        typer.Option("--from", help="On the scored answers of the project's jobs instead."),
    ] = None,
    route: Annotated[
        str | None, typer.Option(metavar="NAME", help="Results: of this route, by its model.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Results: whose scores.")
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(min=0, metavar="USD", help="What it buys for all prompts; again for others."),
    ] = None,
    text: Annotated[str, typer.Option(metavar="COL", help="The column of prompts.")] = "",
    prices: PricesOption = None,
    level: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Intents: how often sets may miss the truth.")
    ] = 0.05,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Measure a model on judged prompts that it was not trained on: those of a file, or the
    project's own scored results (by held-back folds, since it may have learned of them).

    With --budget all prompts are assigned as one within it, by what the model foresees; told is
    what that truly costs and gives.

    \b
    Examples:
      batchyard router eval --model tickets.router --data others.parquet
      batchyard router eval --model tickets.router --data others.parquet --budget 2 --json
      batchyard router eval --from results --route smart
    """
    if (data is None) == (from_ is None):
        raise InputError("On what? Give --data FILE, or --from results")
    if from_ is None and (route or scorer):
        raise InputError("--route and --scorer are for --from results")
    if from_ and (text or prices):
        raise InputError("--text and --prices are for --data")
    trained = find_model(model or _model_of(route), project)
    wanted = Wanted(text=text, prices=read_prices(prices) if prices else None)
    if isinstance(trained, IntentModel) and data is not None and not budget:
        told = examine(trained, read_table(data), wanted.text, level)
    else:
        told = _choice(trained, Source(data, wanted, route, scorer), budget or (), project)
    if as_json:
        put_json(told)
        return
    bought = told.pop("budgets", [])
    _show(told)
    for one in bought:
        put_line(f"\nwithin ${one['budget']:g}")
        _show({name: one[name] for name in ("spend", "overspend", "quality", "intervals")})


def _show(told: dict[str, Any]) -> None:
    intervals = told.pop("intervals", {})
    for key, value in told.items():
        ends = intervals.get(key)
        span = f"  ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        put_line(f"{key:25} {shown}{span}")


def _model_of(route: str | None) -> str:
    """The name of the model that a route of the configuration goes by. Raises InputError."""
    if route is None:
        raise InputError("Which model? Give --model NAME|FILE, or the --route that goes by one")
    routes = settings_in_force(Home.from_env(), None, os.environ).routes
    found = routes.get(route)
    if found is None or found.router is None:
        there = ", ".join(name for name, one in routes.items() if one.router) or "none"
        raise InputError(f"--route {route}: goes by no router model. Those that do: {there}")
    return found.router.model
