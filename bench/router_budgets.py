"""Jobs with a hard budget, decided as a whole: what they spend, and what they get for it.

A table of judged prompts is cut in two halves by a seed; one trains the router. Batches are drawn
from the other half: every other one at random, the rest with one kind of content in excess (a value
of the first metadata column in nine of ten requests, as far as there are so many; or the longest or
the shortest third). Each is a job with `choose: optimize` on a fresh yard (`bench/recorded.py`) and
the same budget: what the threshold policy with a price of quality, and no budget, is expected to
spend on as many requests of that half on average. The prices are those at which it spends some
shares of the best model's price on the training half. The threshold policy itself is worked out
from the same predictions on the same batches, with the recorded scores and costs.

A request's `max_tokens` are those of the longest recorded answer to its value of the first metadata
column, by any candidate: whoever writes a job knows that much of its answers.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.halves import Halves, add_data_arguments, halves
from bench.recorded import (
    answer_of,
    interval,
    line_of,
    name_of,
    outcome,
    store,
    until_ended,
    yard_of,
)
from bench.yards import BenchYard, fresh_yard, open_context
from core.money import NANO
from db.connect import only_row
from routing.labelled import Labelled
from routing.models.choice import Prediction
from routing.threshold import chosen, price_for_cost
from tasks.context import Context
from tasks.submit import SubmitOptions, submit

HELP = "jobs with a hard budget, decided as a whole"
SHARES = (0.25, 0.5, 0.75)
SHIFT = 0.9
AT_ONCE = 10
TOLD = b"""
select j.status, a.spent_nusd, (select count(*) from waves where job_id = j.id)
from jobs j join accounts a on a.id = j.account_id where j.id = %(job)s
"""
Ints = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Ints]


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests (rows of the data) with a budget in dollars. `quality` and `usd` are what the
    threshold policy gets and spends on them at the share's price."""

    kind: str
    share: float
    rows: Ints
    budget: float
    quality: float
    usd: float


@dataclass(frozen=True, slots=True)
class Done:
    """A batch's job. Who has no answer counts as 0 in `quality`."""

    batch: Batch
    status: str
    quality: float
    spent: float
    waves: int
    seconds: float
    audit_ok: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--requests", type=int, default=200, help="of a batch")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where a batch is over its budget or the audit found something."""
    cut = halves(arguments)
    batches = list(_batches(cut, arguments.batches, arguments.requests, arguments.seed))
    route = {
        "candidates": [name_of(one) for one in cut.data.candidates],
        "choose": "optimize",
        "router": "router",
    }
    with fresh_yard(yard_of(cut.data, {"whole": route}, {}), workers=1, flower=False) as yard:
        began = time.perf_counter()
        done = asyncio.run(_measure(yard, cut, batches))
        seconds = time.perf_counter() - began
    figures = {
        "requests": arguments.requests,
        "trained_on": len(cut.trained),
        "drawn_from": len(cut.data),
        "costs": cut.data.costs,
        "seconds": seconds,
        "audit_ok": all(one.audit_ok for one in done),
        "all": _summed(done),
        "by_share": {f"{share:.0%}": _summed([o for o in done if o.batch.share == share])
                     for share in SHARES},
        "by_kind": {kind: _summed([one for one in done if one.batch.kind == kind])
                    for kind in dict.fromkeys(one.batch.kind for one in done)},
        "load": os.getloadavg()[0],
    }  # fmt: skip
    print(json.dumps(figures, indent=2) if arguments.json else _as_table(figures))
    return 0 if figures["audit_ok"] and not figures["all"]["over"] else 1


# Which batches.


def _batches(cut: Halves, count: int, size: int, seed: int) -> Iterator[Batch]:
    """Every other one at random; the prices and the kinds of content in turn."""
    told = cut.model.predict(cut.data.prompts, cut.data.metadata)
    before = cut.model.predict(cut.trained.prompts, cut.trained.metadata)
    dearest = float(np.nanmean(cut.trained.cost, axis=0)[_best(cut.trained)])
    prices = [price_for_cost(before.quality, before.cost, share * dearest) for share in SHARES]
    drawn = np.random.default_rng(seed)
    kinds = _kinds(cut.data)
    shifted = [kind for kind in kinds if kind != "random"]
    for number in range(count):
        kind = "random" if number % 2 == 0 else shifted[number // 2 % len(shifted)]
        place = number % len(SHARES)
        rows = kinds[kind](drawn, size)
        yield _batch(cut.data, told, kind, SHARES[place], prices[place], rows)


def _best(data: Labelled) -> int:
    return int(np.nanmean(data.quality, axis=0).argmax())


def _batch(
    data: Labelled, told: Prediction, kind: str, share: float, price: float, rows: Ints
) -> Batch:
    by = chosen(told.quality, told.cost, price)
    expected = float(told.cost[np.arange(len(by)), by].mean(dtype=np.float64))
    quality, cost = data.quality[rows, by[rows]], data.cost[rows, by[rows]]
    budget = len(rows) * expected
    return Batch(kind, share, rows, budget, float(quality.mean()), float(cost.sum()))


def _kinds(data: Labelled) -> dict[str, Draw]:
    """How to draw a batch of each kind."""
    everything = np.arange(len(data))
    lengths = np.argsort([len(prompt) for prompt in data.prompts])
    third = len(data) // 3
    kinds: dict[str, Draw] = {"random": partial(_mostly, everything, everything)}
    values = np.array([_first(data, row) for row in range(len(data))])
    for value in np.unique(values[values != ""]).tolist():
        mine = values == value
        kinds[value] = partial(_mostly, np.flatnonzero(mine), np.flatnonzero(~mine))
    kinds["longest"] = partial(_mostly, lengths[-third:], lengths[:-third])
    kinds["shortest"] = partial(_mostly, lengths[:third], lengths[third:])
    return kinds


def _first(data: Labelled, row: int) -> str:
    """The value of the first metadata column."""
    return next(iter(data.metadata[row].values()), "")


def _mostly(pool: Ints, rest: Ints, drawn: np.random.Generator, size: int) -> Ints:
    if pool is rest:
        return drawn.choice(pool, size, replace=False)
    many = min(round(SHIFT * size), len(pool))
    both = [
        drawn.choice(pool, many, replace=False),
        drawn.choice(rest, size - many, replace=False),
    ]
    return drawn.permutation(np.concatenate(both))


# Their jobs.


async def _measure(yard: BenchYard, cut: Halves, batches: Sequence[Batch]) -> list[Done]:
    longest = _longest(cut.data)
    async with open_context(yard) as ctx:
        await store(ctx, cut.model, "router")
        room = asyncio.Semaphore(AT_ONCE)

        async def one(batch: Batch) -> Done:
            async with room:
                return await _play(ctx, cut.data, longest, batch)

        return await asyncio.gather(*map(one, batches))


def _longest(data: Labelled) -> dict[str, int]:
    """The tokens of the longest answer by the value of the first metadata column."""
    found: dict[str, int] = {}
    for row in range(len(data)):
        of = [answer_of(data, row, at)["completion_tokens"] for at in range(len(data.candidates))]
        found[_first(data, row)] = max(found.get(_first(data, row), 0), *of)
    return found


async def _play(ctx: Context, data: Labelled, longest: dict[str, int], batch: Batch) -> Done:
    lines = [
        {**line_of(data, row), "max_tokens": longest[_first(data, row)]}
        for row in batch.rows.tolist()
    ]
    began = time.perf_counter()
    budget = int(batch.budget * float(NANO))
    job = await submit(ctx, lines, SubmitOptions(route="whole", budget_nusd=budget))
    await until_ended(ctx, job)
    seconds = time.perf_counter() - began
    found = await outcome(ctx, data, job)
    async with ctx.pool.connection() as conn:
        status, spent, waves = await only_row(conn, TOLD, {"job": job})
    quality = sum(found.scores.values()) / len(lines)
    return Done(batch, status, quality, spent / float(NANO), waves, seconds, found.audit_ok)


# What to tell.


def _summed(done: Sequence[Done]) -> dict[str, Any]:
    use = np.array([one.spent / one.batch.budget for one in done])
    apart = [one.quality - one.batch.quality for one in done]
    without = np.array([one.batch.usd / one.batch.budget for one in done])
    waves = [one.waves for one in done]
    return {
        "batches": len(done),
        "over": int((use > 1).sum()),
        "unfinished": sum(one.status != "completed" for one in done),
        "use": {"mean": float(use.mean()), "least": float(use.min()), "most": float(use.max())},
        "threshold_use": {"mean": float(without.mean()), "most": float(without.max()),
                          "over": int((without > 1).sum())},
        "quality": float(np.mean([one.quality for one in done])),
        "threshold_quality": float(np.mean([one.batch.quality for one in done])),
        "difference": [float(np.mean(apart)), *interval(apart)],
        "waves": {"mean": float(np.mean(waves)), "most": max(waves)},
        "seconds": float(np.mean([one.seconds for one in done])),
    }  # fmt: skip


def _as_table(figures: dict[str, Any]) -> str:
    rows = {"all": figures["all"], **figures["by_share"], **figures["by_kind"]}
    head = (
        f"{'batches':<16}{'n':>4}{'over':>6}{'use':>8}{'least':>8}{'quality':>9}"
        f"{'to threshold (95 %)':>26}{'its use':>9}{'most':>7}{'waves':>7}{'most':>6}"
    )
    drawn = f"batches of {figures['requests']}, drawn from {figures['drawn_from']} prompts"
    lines = [f"{drawn}; trained on {figures['trained_on']} others", head]
    for name, row in rows.items():
        apart, low, high = row["difference"]
        use, other, waves = row["use"], row["threshold_use"], row["waves"]
        told = f"{apart:+.4f} ({low:+.4f} {high:+.4f})"
        lines.append(
            f"{name:<16}{row['batches']:>4}{row['over']:>6}{use['mean']:>8.1%}{use['least']:>8.1%}"
            f"{row['quality']:>9.4f}{told:>26}{other['mean']:>9.1%}{other['most']:>7.0%}"
            f"{waves['mean']:>7.1f}{waves['most']:>6}"
        )
    unfinished = figures["all"]["unfinished"]
    lines.append(
        f"unfinished {unfinished}; {figures['seconds']:.0f} s, {AT_ONCE} jobs at once, a job "
        f"{figures['all']['seconds']:.1f} s; load {figures['load']:.1f}"
    )
    return "\n".join(lines)
