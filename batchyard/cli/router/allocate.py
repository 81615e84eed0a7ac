"""`batchyard router allocate`."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from batchyard.cli.output import JsonFlag, put_json, put_line
from batchyard.cli.router.train import DataOption, PricesOption
from batchyard.cli.scored_results import read_model_file
from batchyard.cli.show import count, out, plain, table
from batchyard.judged.choosing import for_model
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted
from batchyard.judged.tables import read_table
from core.errors import InputError
from routing.batch.allocation import Allocation, Capacity, DoesNotFitError
from routing.batch.allocation import allocate as solve
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel

_WORDS = {"budget": "--budget", "quality": "--quality", "calls": "--capacity"}


def allocate(
    *,
    model: Annotated[Path, typer.Option("-m", "--model", help="What `train` wrote.")],
    data: DataOption,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="No more than this altogether.")
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="This mean quality at the least cost, as predicted."),
    ] = None,
    capacity: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Calls that a candidate can take; again for others."),
    ] = None,
    text: Annotated[str, typer.Option(metavar="COL", help="The column of prompts.")] = "",
    prices: PricesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Assign all prompts of a file at once: the best quality within a budget, or a quality at
    the least cost, with no more calls to a candidate than it can take.

    \b
    Examples:
      batchyard router allocate --model tickets.router --data judged.parquet --budget 2.50
      batchyard router allocate -m tickets.router -d judged.parquet --quality 0.9 --json
      batchyard router allocate -m tickets.router -d judged.parquet --budget 3 --capacity large=500
    """
    if budget is None and quality is None:
        raise InputError("nothing is aimed at. Give --budget USD, --quality Q, or both")
    trained = read_model_file(model)
    if not isinstance(trained, ChoiceModel):
        raise InputError(f"{model}: is a model for {trained.kind}. Give one for choice")
    wanted = Wanted(text=text, prices=read_prices(prices) if prices else None)
    judged = for_model(read_table(data), trained, wanted)
    calls = _calls(capacity or [], trained.candidates)
    said = trained.predict(judged.prompts, judged.metadata)
    try:
        found = solve(
            said.quality,
            said.cost,
            budget=budget,
            least_quality=quality,
            capacity=Capacity(calls=calls),
        )
    except DoesNotFitError as error:
        raise InputError(_misfit(error, trained.candidates)) from error
    told = _told(found, judged, trained.candidates, budget, calls)
    if as_json:
        put_json(told)
    else:
        _show(told)


def _calls(given: list[str], candidates: tuple[str, ...]) -> list[float]:
    """The capacities in the candidates' order; empty without any. Raises InputError."""
    if not given:
        return []
    calls = dict.fromkeys(candidates, float("inf"))
    for one in given:
        name, _, number = one.rpartition("=")
        if name not in calls:
            raise InputError(
                f"--capacity {one}: the model has no such candidate. It knows "
                f"{', '.join(candidates)}; write NAME=N"
            )
        if not number.isdecimal():
            raise InputError(f"--capacity {one}: {number!r} is no number of calls")
        calls[name] = float(number)
    return [*calls.values()]


def _misfit(error: DoesNotFitError, candidates: tuple[str, ...]) -> str:
    said = str(error)
    if error.candidate is not None:
        said = said.replace(f"candidate {error.candidate}", candidates[error.candidate])
    return f"{_WORDS.get(error.constraint, 'data')}: {said}"


def _told(
    found: Allocation,
    judged: Labelled,
    candidates: tuple[str, ...],
    budget: float | None,
    calls: list[float],
) -> dict[str, Any]:
    """The assignment in figures; true ones are over the prompts that have them."""
    rows = np.arange(len(judged))
    scores, costs = judged.quality[rows, found.choice], judged.cost[rows, found.choice]
    known = bool(np.isfinite(costs).all()) and judged.costs != "calls"
    scored = np.isfinite(scores)
    return {
        "requests": len(judged),
        "quality": round(found.quality, 6),
        "spend_usd": found.spend,
        "budget_usd": budget,
        "true_quality": round(float(scores[scored].mean()), 6) if scored.any() else None,
        "true_spend_usd": float(costs.sum()) if known else None,
        "judged": int(scored.sum()),
        "costs": judged.costs,
        "price": found.price if np.isfinite(found.price) else None,
        "candidates": [
            {
                "candidate": name,
                "requests": int(found.counts[at]),
                "share": round(float(found.counts[at]) / max(len(judged), 1), 4),
                "capacity": int(calls[at]) if calls and np.isfinite(calls[at]) else None,
                "call_price": float(found.call_prices[at]),
            }
            for at, name in enumerate(candidates)
        ],
    }


def _show(told: dict[str, Any]) -> None:
    of = f" of ${told['budget_usd']:.6g}" if told["budget_usd"] is not None else ""
    put_line(f"{count(told['requests'], 'request')} assigned as one")
    put_line(f"  expected  quality {told['quality']:.4f}, ${told['spend_usd']:.6g}{of}")
    if told["true_quality"] is not None:
        spend = told["true_spend_usd"]
        cost = "" if spend is None else f", ${spend:.6g}"
        put_line(f"  judged    quality {told['true_quality']:.4f}{cost}")
    if told["costs"] == "assumed":
        put_line("  costs are assumed from the candidates' sizes: give --prices FILE")
    if told["price"]:
        put_line(f"  one more dollar brings {told['price']:.4g} of quality")
    put_line("")
    rows = [
        [
            one["candidate"],
            plain(one["requests"]),
            f"{one['share']:.1%}",
            "" if one["capacity"] is None else plain(one["capacity"]),
            f"{one['call_price']:.4g}" if one["call_price"] > 1e-9 else "",
        ]
        for one in told["candidates"]
    ]
    headings = ["CANDIDATE", ">REQUESTS", ">SHARE", ">CAPACITY", ">ONE MORE CALL BRINGS"]
    out().print(table(headings, rows))
