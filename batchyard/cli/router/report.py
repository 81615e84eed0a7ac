"""`batchyard router report`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from batchyard.cli.complete import ProjectOption
from batchyard.cli.database import ask_project
from batchyard.cli.output import JsonFlag, put_json, put_note
from batchyard.cli.router.curve import model_report
from batchyard.cli.router.train import PricesOption, SomeDataOption
from batchyard.cli.savedview import report_json, report_lines, span
from batchyard.cli.show import out, plain, table
from batchyard.embedded.home import Home
from batchyard.picture.drawing import Mark, draw, mix_line
from core.errors import InputError
from core.ids import DEFAULT_PROJECT, job_name, job_number
from routing.measuring.savings import Savings
from tasks.router.reports import JobReport
from tasks.router.reports import report as job_report

CANDIDATES = (
    "CANDIDATE",
    ">REQUESTS",
    ">SHARE",
    ">$/1,000",
    ">SCORE",
    "ALWAYS: QUALITY",
    ">$/1,000",
)
BINS = (">ANSWERS", ">PREDICTED", "MEASURED")


# One parameter an option.
def report(  # noqa: PLR0913
    job: Annotated[str, typer.Argument(help="What this job did and saved.", metavar="[JOB]")] = "",
    *,
    model: Annotated[
        str, typer.Option("-m", "--model", help="Of a model instead: its name, or its file.")
    ] = "",
    data: SomeDataOption = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: a name in .svg, .png or .pdf.")
    ] = None,
    scorer: Annotated[str | None, typer.Option(metavar="NAME", help="Whose scores.")] = None,
    text: Annotated[str, typer.Option(metavar="COL", help="The column of prompts.")] = "",
    prices: PricesOption = None,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonFlag = False,
) -> None:
    """Tell what routing is worth, with 95 % intervals by bootstrap over requests.

    Of a job: what it spent and how good it was, against always the best and the cheapest
    candidate and against the best mix of two, at the same spend and of the same quality;
    candidates, and predicted beside measured quality. What others would have given is measured
    where a pilot or `explore` asked them, and else predicted; the report says which.

    Of a model: the quality that routing by it has at each cost, on judged prompts (--data, or the
    project's scored results); on those that it was trained on, by held-back folds.

    \b
    Examples:
      batchyard router report 12
      batchyard router report job_12 --picture saved.svg
      batchyard router report --model tickets
      batchyard router report --model tickets.router --data others.parquet --picture curve.png
    """
    if bool(job) == bool(model):
        raise InputError("Of what? Give a job (router report 12), or --model NAME|FILE")
    if model:
        if scorer is not None and data is not None:
            raise InputError("--scorer is for scored results; --data has scores of its own")
        model_report(
            model, data, text=text, prices=prices, scorer=scorer, project=project,
            picture=picture, as_json=as_json,
        )  # fmt: skip
        return
    if data is not None or prices is not None or text:
        raise InputError("--data, --text and --prices are for --model")
    number = job_number(job)
    told = ask_project(
        Home.from_env(), project, lambda conn, id_: job_report(conn, id_, number, scorer)
    )
    if picture is not None:
        _draw(told, picture)
    if as_json:
        put_json(report_json(told) | ({"picture": str(picture)} if picture else {}))
    else:
        _show(told)
        if picture is not None:
            put_note(f"{picture} drawn")


def _show(told: JobReport) -> None:
    console = out()
    for line in report_lines(told):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(table(CANDIDATES, _rows(told)))
    if told.calibration:
        console.print(Text("\nPredicted and measured quality of the answers", style="bold"))
        console.print(
            table(
                BINS,
                [
                    [plain(b.count), f"{b.predicted:.3f}", span(b.measured)]
                    for b in told.calibration
                ],
            )
        )


def _rows(told: JobReport) -> Iterator[list[str]]:
    for part in told.parts:
        quality = usd = ""
        if told.saved is not None:
            worth, cost = told.saved.always[told.names.index(part.name)]
            quality, usd = span(worth), f"{1000 * cost.value:.4g}"
        yield [
            part.name,
            plain(part.requests * told.every),
            f"{part.share:.0%}",
            "-" if part.usd is None else f"{1000 * part.usd:.4g}",
            "-" if part.score is None else f"{part.score:.3f}",
            quality,
            usd,
        ]


def _draw(told: JobReport, path: Path) -> None:
    saved = told.saved
    if saved is None:
        raise InputError(
            f"--picture: of {job_name(told.view.id)} nothing is known but what its answers gave. "
            "A route that goes by a router predicts what others would have given"
        )
    singles = [
        Mark(
            _named(told.names, saved, column), 1000 * usd.value, worth.value,
            "reference" if column in (saved.best, saved.cheapest) else "single",
            worth.low, worth.high,
        )
        for column, (worth, usd) in enumerate(saved.always)
    ]  # fmt: skip
    quality = saved.quality
    ours = Mark(
        job_name(told.view.id), 1000 * saved.usd.value, quality.value, "ours", quality.low,
        quality.high,
    )  # fmt: skip
    how = "measured" if saved.basis != "predicted" else "others as predicted"
    draw(
        path,
        mix_line(singles),
        [*singles, ours],
        title=f"What {job_name(told.view.id)} got for its money",
        unit=f"US dollars for 1,000 requests ({how}; bars: 95 %)",
    )


def _named(names: tuple[str, ...], saved: Savings, column: int) -> str:
    roles: dict[int, Any] = {saved.cheapest: "always cheapest", saved.best: "always best"}
    role = roles.get(column)
    return f"{role}: {names[column]}" if role else names[column]
