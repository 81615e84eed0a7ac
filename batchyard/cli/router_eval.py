"""`batchyard router eval`."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from batchyard.choosing import for_model
from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.router_train import DataOption, PricesOption
from batchyard.prices_file import read_prices
from batchyard.recognise import Wanted
from batchyard.tables import Table, read_table
from batchyard.understanding import examine
from core.errors import InputError
from routing.cascade_figures import cascade_figures
from routing.choice_figures import measure
from routing.choice_model import ChoiceModel
from routing.intent_model import IntentModel
from routing.model_file import load
from routing.model_state import Model


class Examiner(Protocol):
    """How a kind of model is measured: one JSON object."""

    def __call__(
        self, model: Model, table: Table, wanted: Wanted, level: float, /
    ) -> dict[str, Any]: ...


def _choice(model: Model, table: Table, wanted: Wanted, _level: float) -> dict[str, Any]:
    if not isinstance(model, ChoiceModel):
        raise InputError(f"The model is one for {model.kind}.")
    data = for_model(table, model, wanted)
    began = time.process_time()
    told = model.predict(data.prompts, data.metadata)
    spent = max(time.process_time() - began, 1e-9)
    figures = measure(model, told, data)
    values, measured = cascade_figures(model, told, data)
    figures.values.update(values, **{key: one.value for key, one in measured.items()})
    figures.intervals.update({key: (one.low, one.high) for key, one in measured.items()})
    figures.values["prompts_per_cpu_s"] = round(len(data) / spent, 1)
    return figures.told()


def _intent(model: Model, table: Table, wanted: Wanted, level: float) -> dict[str, Any]:
    if not isinstance(model, IntentModel):
        raise InputError(f"The model is one for {model.kind}.")
    return examine(model, table, wanted.text, level)


EXAMINERS: Mapping[str, Examiner] = {"choice": _choice, "intent": _intent}


def read_model(path: Path) -> Model:
    """The router model in a file. Raises InputError."""
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error


def evaluate(
    *,
    model: Annotated[Path, typer.Option("-m", "--model", help="What `train` wrote.")],
    data: DataOption,
    text: Annotated[str, typer.Option(metavar="COL", help="The column of prompts.")] = "",
    prices: PricesOption = None,
    level: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Intents: how often sets may miss the truth.")
    ] = 0.05,
    as_json: JsonFlag = False,
) -> None:
    """Measure a model on judged prompts that it was not trained on.

    \b
    Examples:
      batchyard router eval --model tickets.router --data others.parquet
      batchyard router eval --model tickets.router --data others.parquet --json
    """
    trained = read_model(model)
    wanted = Wanted(text=text, prices=read_prices(prices) if prices else None)
    told = EXAMINERS[trained.kind](trained, read_table(data), wanted, level)
    if as_json:
        put_json(told)
        return
    intervals = told.pop("intervals", {})
    for key, value in told.items():
        ends = intervals.get(key)
        span = f"  ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        put_line(f"{key:25} {shown}{span}")
