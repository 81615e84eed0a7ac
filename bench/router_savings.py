"""What routing saves, end to end: recorded answers of several models, through a running yard.

A table of judged prompts is cut in two halves by a seed. One half trains a router; the other is a
job for each route on a fresh yard (`bench/recorded.py`): the best single model, the cheapest one,
and the router at some shares of the best one's price. Then the middle one's job once more with
prompts mixed in that are out of scope or may mean two things: a model (simulated, and always right)
is asked for intents, the first are rejected without a call, the second are asked about, and go on
with `batchyard clarify`. --plot draws quality over price beside the best mix of two single models.
"""

import argparse
import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from batchyard.judged.choosing import names
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted
from bench.recorded import (
    Row,
    as_table,
    halves,
    judged,
    mix_at,
    name_of,
    play,
    store,
    until_ended,
    yard_of,
)
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from db.results import stream_results
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from tasks.clarify import clarify, to_clarify
from tasks.context import Context
from tasks.submit import SubmitOptions, submit

HELP = "what routing saves at equal quality, and prompts that are out of scope or unclear"
SHARES = (0.5, 0.75, 1.0)
ODD = 40
"""Prompts of each kind that are mixed in."""
INTENTS = {
    "reasoning": {"description": "to solve a problem step by step"},
    "knowledge": {"description": "to be told a fact"},
}
JUDGE = "judge"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--candidates", default="", help="columns (default: all that are scores)")
    parser.add_argument("--metadata", default="", help="columns that the router reads")
    parser.add_argument("--prices", type=Path, help="where the data have no costs")
    parser.add_argument("--requests", type=int, default=1000, help="at most, of the second half")
    parser.add_argument("--plot", type=Path, help="write the picture here (SVG, PNG)")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    wanted = Wanted(
        candidates=names(arguments.candidates),
        metadata=names(arguments.metadata),
        prices=None if arguments.prices is None else read_prices(arguments.prices),
    )
    cut = halves(arguments.data, wanted, arguments.seed, most=arguments.requests)
    data, model = cut.data, cut.model
    config = yard_of(data, _routes(cut.trained), _verdicts(len(data)))
    config["deployments"][JUDGE] = {
        "provider": "sim",
        "model": JUDGE,
        "price": {"input_per_mtok": 0.05, "output_per_mtok": 0.2},
    }
    with fresh_yard(config, workers=1, flower=False) as yard:
        rows, mixed = asyncio.run(_measure(yard, data, model))
    figures = {
        "requests": len(data),
        "trained_on": len(cut.trained),
        "costs": data.costs,
        "routes": [row.told() for row in rows],
        "mixed": mixed,
        "load": os.getloadavg()[0],
    }
    if arguments.plot is not None:
        _draw(data, rows, arguments.plot)
    print(json.dumps(figures, indent=2) if arguments.json else _as_table(figures, rows))
    return 0 if all(row.audit_ok for row in rows) and mixed["audit_ok"] else 1


def _routes(trained: Labelled) -> dict[str, Any]:
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
        name = f"routed-{share:.0%}".removesuffix("%")
        routes[name] = {"candidates": candidates, "choose": "threshold", "router": aim}
    middle = routes[f"routed-{SHARES[1]:.0%}".removesuffix("%")]
    intents = {"llm": JUDGE, "file": {"intents": INTENTS}}
    return {**routes, "mixed": {**middle, "intents": intents}}


def _verdicts(rows: int) -> dict[str, Any]:
    """What the model that is asked for intents says, by the mark at the end of a prompt."""

    def says(intent: str, *among: str) -> dict[str, Any]:
        text = json.dumps({"intent": intent, "alternatives": among})
        return {JUDGE: {"text": text}}

    odd = {f"out-{n}": says("out_of_scope") for n in range(ODD)}
    odd |= {f"both-{n}": says("unclear", *INTENTS) for n in range(ODD)}
    return odd | {f"row-{n}": says("reasoning") for n in range(rows)}


async def _measure(
    yard: BenchYard, data: Labelled, model: ChoiceModel
) -> tuple[list[Row], dict[str, Any]]:
    async with open_context(yard) as ctx:
        await store(ctx, model, "router")
        routes = [name for name in yard.settings.routes if name not in ("default", "mixed")]
        rows = [await play(ctx, data, name) for name in routes]
        return rows, await _mixed(ctx, data)


async def _mixed(ctx: Context, data: Labelled) -> dict[str, Any]:
    """The job with odd prompts mixed in, before and after people were asked."""
    lines = [
        {
            "custom_id": str(row),
            "prompt": f"{prompt} [#row-{row}]",
            "user": str(row),
            "metadata": dict(tags),
        }
        for row, (prompt, tags) in enumerate(zip(data.prompts, data.metadata, strict=True))
    ]
    lines += [
        {"custom_id": f"out-{n}", "prompt": f"What is the weather in {n} days? [#out-{n}]"}
        for n in range(ODD)
    ]
    lines += [
        {"custom_id": f"both-{n}", "prompt": f"Do number {n} for me, please. [#both-{n}]"}
        for n in range(ODD)
    ]
    drawn = np.random.default_rng(1).permutation(len(lines))
    job = await submit(ctx, [lines[at] for at in drawn], SubmitOptions(route="mixed"))
    await until_ended(ctx, job)
    before = await _statuses(ctx, job)
    async with ctx.pool.connection() as conn:
        asked = await to_clarify(conn, 1, job)
    answers = [{"custom_id": one.custom_id, "answer": "1"} for one in asked]
    sent = await clarify(ctx, 1, job, answers)
    if sent.job_id is not None:
        await until_ended(ctx, sent.job_id)
    row = await judged(ctx, data, job, "mixed", 0.0)
    async with ctx.pool.connection() as conn:
        report = await audit(conn, 1)
    return {
        "before": dict(before),
        "questions": asked[0].question,
        "after": dict(await _statuses(ctx, job)),
        "quality": row.quality,
        "usd_per_1k": row.usd_per_1k,
        "audit_ok": report.ok,
    }


async def _statuses(ctx: Context, job: int) -> Counter[str]:
    found: Counter[str] = Counter()
    async with ctx.pool.connection() as conn:
        async for block in stream_results(conn, 1, job):
            for line in map(json.loads, block.splitlines()):
                found[line["batchyard"]["status"]] += 1
    return found


def _draw(data: Labelled, rows: list[Row], path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4.2))
    prices, scores = 1000 * np.nanmean(data.cost, axis=0), np.nanmean(data.quality, axis=0)
    span = np.linspace(prices.min(), max(prices.max(), *(row.usd_per_1k for row in rows)), 200)
    axes.plot(span, [mix_at(data, at) for at in span], color="0.6", label="best mix of two models")
    axes.scatter(prices, scores, color="0.6", s=14)
    for name, price, score in zip(data.candidates, prices, scores, strict=True):
        axes.annotate(name, (price, score), fontsize=6, color="0.45", xytext=(3, -7),
                      textcoords="offset points")  # fmt: skip
    for row in rows:
        routed = row.route.startswith("routed")
        colour = "tab:green" if routed else "tab:orange"
        spread = [[row.quality - row.low], [row.high - row.quality]]
        axes.errorbar(row.usd_per_1k, row.quality, yerr=spread, fmt="o", color=colour, capsize=3)
        axes.annotate(row.route, (row.usd_per_1k, row.quality), fontsize=8, xytext=(5, 5),
                      textcoords="offset points")  # fmt: skip
    axes.set_xlabel("US dollars for 1,000 requests")
    axes.set_ylabel("quality (mean score, 95 %)")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


def _as_table(figures: dict[str, Any], rows: list[Row]) -> str:
    mixed = figures["mixed"]
    told = ", ".join(f"{count} {status}" for status, count in mixed["before"].items())
    then = ", ".join(f"{count} {status}" for status, count in mixed["after"].items())
    return "\n".join(
        (
            f"{figures['requests']} requests a route, trained on {figures['trained_on']} others",
            f"costs: {figures['costs']}",
            as_table(rows),
            f'mixed: {told}; asked "{mixed["questions"]}"; then {then}',
            f"mixed: quality {mixed['quality']:.3f}, ${mixed['usd_per_1k']:.3f} per 1,000",
            f"load {figures['load']:.1f}",
        )
    )
