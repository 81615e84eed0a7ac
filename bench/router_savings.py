"""What routing saves, end to end: recorded answers of several models, through a running yard.

A table of judged prompts is cut in two halves by a seed. One half trains a router; the other is a
job for each route on a fresh yard (`bench/recorded.py`): the best single model, the cheapest one,
and the router at some shares of the best one's price. --picture draws quality over price beside the
single models and the best mix of two. With --kinds and --strangers the middle one's job is run once
more with other prompts mixed in (`bench/mixed.py`).
"""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from batchyard.picture.drawing import Mark, draw, mix_line
from bench.halves import Halves, add_data_arguments, halves
from bench.mixed import ROUTE, Mix, as_lines, mix, play_mixed
from bench.recorded import Row, as_table, name_of, play, store, yard_of
from bench.yards import BenchYard, fresh_yard, open_context
from core.errors import InputError
from routing.labelled import Labelled

HELP = "what routing saves at equal quality, and prompts that are out of scope or unclear"
SHARES = (0.5, 0.75, 1.0)
SINGLE = {"best": "always best", "cheapest": "always cheapest"}
MIDDLE = "routed-75"
"""The route whose job is run once more with other prompts mixed in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--requests", type=int, default=1400, help="at most, of the second half")
    parser.add_argument("--picture", type=Path, help="draw it here: a name in .svg, .png or .pdf")
    parser.add_argument("--kinds", type=Path, help="CSV of first_row,kind (bench/kinds)")
    parser.add_argument("--strangers", type=Path, help="a table with messages of another kind")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    if (arguments.kinds is None) != (arguments.strangers is None):
        raise InputError("--kinds and --strangers belong together: give both, or neither")
    cut = halves(arguments, most=arguments.requests)
    mixed = (
        None
        if arguments.kinds is None
        else mix(cut, arguments.kinds, arguments.strangers, arguments.seed)
    )
    config = yard_of(cut.data, _routes(cut.trained, intents=mixed is not None), {})
    with fresh_yard(config, workers=1, flower=False) as yard:
        rows, told = asyncio.run(_measure(yard, cut, mixed))
    figures = {
        "requests": len(cut.data),
        "trained_on": len(cut.trained),
        "costs": cut.data.costs,
        "routes": [row.told() for row in rows],
        "mixed": told,
        "load": os.getloadavg()[0],
    }
    if arguments.picture is not None:
        _draw(cut, rows, arguments.picture)
    print(json.dumps(figures, indent=2) if arguments.json else _as_text(figures, rows))
    return 0 if all(row.audit_ok for row in rows) and (told is None or told["audit_ok"]) else 1


def _routes(trained: Labelled, *, intents: bool) -> dict[str, Any]:
    """What is best and what is cheap is known from the training half."""
    candidates = [name_of(one) for one in trained.candidates]
    scores = np.nanmean(trained.quality, axis=0)
    best = int(scores.argmax())
    prices = 1000 * np.nanmean(trained.cost, axis=0)
    # Of several at the lowest price the best.
    cheapest = int(np.lexsort((-scores, prices.round(9)))[0])
    routes: dict[str, Any] = {
        "best": {"candidates": [candidates[best]]},
        "cheapest": {"candidates": [candidates[cheapest]]},
    }
    for share in SHARES:
        aim = {"model": "router", "usd_per_1k": float(share * prices[best])}
        name = f"routed-{100 * share:.0f}"
        routes[name] = {"candidates": candidates, "choose": "threshold", "router": aim}
    if intents:
        told = {"model": "kinds", "level": 0.05, "out_of_scope": "best"}
        routes[ROUTE] = {**routes[MIDDLE], "intents": told}
    return routes


async def _measure(
    yard: BenchYard, cut: Halves, mixed: Mix | None
) -> tuple[list[Row], dict[str, Any] | None]:
    async with open_context(yard) as ctx:
        await store(ctx, cut.model, "router")
        routes = [name for name in yard.settings.routes if name not in ("default", ROUTE)]
        rows = [await play(ctx, cut.data, name) for name in routes]
        if mixed is None:
            return rows, None
        alone = next(row for row in rows if row.route == MIDDLE)
        return rows, await play_mixed(ctx, cut, mixed, alone)


def _draw(cut: Halves, rows: list[Row], path: Path) -> None:
    data = cut.data
    prices, scores = 1000 * np.nanmean(data.cost, axis=0), np.nanmean(data.quality, axis=0)
    known = dict(zip(map(name_of, data.candidates), zip(prices, scores, strict=True), strict=True))
    routes = _routes(cut.trained, intents=False)
    asked = {routes[row.route]["candidates"][0]: row for row in rows if row.route in SINGLE}
    singles = [
        Mark(
            f"{SINGLE[asked[name].route]}: {name}", asked[name].usd_per_1k, asked[name].quality,
            "reference", asked[name].low, asked[name].high,
        )
        if name in asked
        else Mark(name, float(price), float(score))
        for name, (price, score) in known.items()
    ]  # fmt: skip
    ours = [
        Mark(
            f"{row.route.replace('-', ' at ')} %", row.usd_per_1k, row.quality, "ours",
            row.low, row.high,
        )
        for row in rows
        if row.route not in SINGLE
    ]  # fmt: skip
    costs = f"prices {data.costs}; " if data.costs == "assumed" else ""
    draw(
        path,
        mix_line(singles),
        [*singles, *ours],
        title="What routing gets at a share of the best model's price",
        unit=f"US dollars for 1,000 requests ({costs}bars: 95 %)",
    )


def _as_text(figures: dict[str, Any], rows: list[Row]) -> str:
    return "\n".join(
        (
            f"{figures['requests']} requests a route, trained on {figures['trained_on']} others",
            f"costs: {figures['costs']}",
            as_table(rows),
            *(as_lines(figures["mixed"]) if figures["mixed"] else ()),
            f"load {figures['load']:.1f}",
        )
    )
