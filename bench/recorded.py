"""Recorded answers through a running yard: what a route's job costs, and how good it is.

A simulated provider gives the recorded answers at the recorded costs (to a thousandth of the
candidate's dearest answer). Quality is the mean score of the answers that came out; the price is
the sum over all calls.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from db.audit import audit
from db.connect import only_row
from db.results import stream_results
from db.router_models import promote, put_model
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from routing.models.file import dump
from tasks.context import Context
from tasks.submit import SubmitOptions, submit

SHARP = 1000
"""Tokens of the dearest answer: the grain of a replayed cost."""
RESAMPLES = 1000
LONGEST = 600.0
ENDED = b"select ended_at is not null from jobs where id = %(job)s"


@dataclass(frozen=True, slots=True)
class Row:
    """A route's job: mean score with its 95 % interval, US dollars for 1,000 requests, the best
    mix of two candidates at that price, and the share of requests by step that answered."""

    route: str
    quality: float
    low: float
    high: float
    usd_per_1k: float
    mix: float
    steps: dict[str, float]
    calls: int
    seconds: float
    audit_ok: bool
    scores: dict[int, float]

    def told(self) -> dict[str, Any]:
        """As JSON, without the single scores."""
        return {key: value for key, value in asdict(self).items() if key != "scores"}

    def above(self, other: "Row") -> tuple[float, float, float]:
        """By how much its quality is above the other's on the same requests, with its 95 %
        interval."""
        both = [row for row in self.scores if row in other.scores]
        apart = [self.scores[row] - other.scores[row] for row in both]
        return float(np.mean(apart)), *interval(apart)


def name_of(column: str) -> str:
    """What a deployment of this candidate is called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", column)


def price_of(data: Labelled, place: int) -> dict[str, float]:
    """Of a candidate, so that its dearest answer has `SHARP` tokens."""
    dearest = float(np.nanmax(data.cost[:, place]))
    return {"input_per_mtok": 0.0, "output_per_mtok": round(dearest * 1e6 / SHARP, 6)}


def answer_of(data: Labelled, row: int, place: int) -> dict[str, Any]:
    """The recorded answer, with as many tokens as its cost needs."""
    price = price_of(data, place)["output_per_mtok"]
    tokens = round(float(data.cost[row, place]) * 1e6 / price)
    texts = data.responses.get(data.candidates[place])
    text = f"an answer of {data.candidates[place]}" if texts is None else texts[row]
    return {"text": text, "prompt_tokens": 1, "completion_tokens": max(1, tokens)}


def yard_of(
    data: Labelled, routes: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Any]
) -> dict[str, Any]:
    """The configuration of a yard with these routes whose provider has the recorded answers, by
    row, and others by their ids."""
    places = range(len(data.candidates))
    recorded = {
        str(row): {"by_model": {data.candidates[p]: answer_of(data, row, p) for p in places}}
        for row in range(len(data))
    }
    for id_, more in answers.items():
        by_model = {**recorded.get(id_, {"by_model": {}})["by_model"], **more}
        recorded[id_] = {"by_model": by_model}
    profile = {
        "latency": {"ms": 20},
        "models": {
            **{data.candidates[p]: {"price": price_of(data, p)} for p in places},
            "*": {},
        },
        "answers": recorded,
    }
    deployments = {
        name_of(data.candidates[p]): {
            "provider": "sim",
            "model": data.candidates[p],
            "price": price_of(data, p),
            "limits": {"in_flight": 64},
        }
        for p in places
    }
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": deployments,
        "routes": {name: {"max_output": 2 * SHARP, **route} for name, route in routes.items()},
    }


async def store(ctx: Context, model: ChoiceModel, name: str) -> None:
    """Promotes the model in the yard, its candidates by their deployments' names."""
    judge = model.acceptance
    if judge is not None:
        asked = tuple(map(name_of, judge.asked))
        judge = replace(judge, asked=asked, strong=name_of(judge.strong))
    renamed = replace(model, candidates=tuple(map(name_of, model.candidates)), acceptance=judge)
    info = {**model.info, "candidates": list(renamed.candidates)}
    async with ctx.pool.connection() as conn:
        version = await put_model(conn, 1, name, "choice", dump(renamed), info)
        await promote(conn, 1, name, version)


def line_of(data: Labelled, row: int) -> dict[str, Any]:
    """A row as a line of input; `user` is what the provider finds its answers by."""
    tags = dict(data.metadata[row])
    return {
        "custom_id": str(row), "prompt": data.prompts[row], "user": str(row), "metadata": tags,
    }  # fmt: skip


async def play(ctx: Context, data: Labelled, route: str) -> Row:
    """The route's job on all rows of the data."""
    lines = [line_of(data, row) for row in range(len(data))]
    began = time.perf_counter()
    job = await submit(ctx, lines, SubmitOptions(route=route))
    await until_ended(ctx, job)
    seconds = time.perf_counter() - began
    return await judged(ctx, data, job, route, seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a job: the scores by row, US dollars and calls altogether, how many were
    answered by which step, whether the audit found nothing."""

    scores: dict[int, float]
    usd: float
    calls: int
    steps: Counter[str]
    audit_ok: bool


async def outcome(ctx: Context, data: Labelled, job: int) -> Outcome:
    """Of a job whose custom_ids are numbers of rows; others have no score."""
    places = {name_of(one): place for place, one in enumerate(data.candidates)}
    scores: dict[int, float] = {}
    cost, calls, steps = 0.0, 0, Counter[str]()
    async with ctx.pool.connection() as conn:
        async for block in stream_results(conn, 1, job):
            for line in map(json.loads, block.splitlines()):
                told = line["batchyard"]
                cost += float(told["cost_usd"])
                calls += told["attempts"]
                if line["custom_id"].isdigit() and told["deployment"] in places:
                    place = places[told["deployment"]]
                    row = int(line["custom_id"])
                    scores[row] = float(data.quality[row, place])
                    steps[str(told.get("cascade", {"step": 1})["step"])] += 1
        report = await audit(conn, 1, job)
    return Outcome(scores, cost, calls, steps, report.ok)


async def judged(ctx: Context, data: Labelled, job: int, route: str, seconds: float) -> Row:
    """What came out of the route's job on all rows of the data."""
    found = await outcome(ctx, data, job)
    quality = list(found.scores.values())
    low, high = interval(quality)
    usd = 1000 * found.usd / len(data)
    shares = {step: round(count / len(quality), 3) for step, count in sorted(found.steps.items())}
    mean, mix = float(np.mean(quality)), mix_at(data, usd)
    return Row(
        route, mean, low, high, usd, mix, shares, found.calls, seconds, found.audit_ok, found.scores
    )


def interval(quality: Sequence[float]) -> tuple[float, float]:
    """95 % of their mean, by bootstrap."""
    drawn = np.random.default_rng(0).choice(np.array(quality), (RESAMPLES, len(quality)))
    low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975)).tolist()
    return low, high


async def until_ended(ctx: Context, job: int) -> None:
    """Raises TimeoutError after ten minutes."""
    async with asyncio.timeout(LONGEST):
        while True:
            async with ctx.pool.connection() as conn:
                (ended,) = await only_row(conn, ENDED, {"job": job})
            if ended:
                return
            await asyncio.sleep(0.1)


def mix_at(data: Labelled, usd_per_1k: float) -> float:
    """The best mean score of a mix by lot of two candidates at that price."""
    prices = 1000 * np.nanmean(data.cost, axis=0)
    scores = np.nanmean(data.quality, axis=0)
    best = 0.0
    for one, price in enumerate(prices):
        for two, other in enumerate(prices):
            # As far as replayed costs are sharp.
            if price <= usd_per_1k * 1.005:
                share = (
                    0.0
                    if other <= price
                    else min(1.0, max(0.0, (usd_per_1k - price) / (other - price)))
                )
                best = max(best, float((1 - share) * scores[one] + share * scores[two]))
    return best


def as_table(rows: Sequence[Row]) -> str:
    """For people."""
    head = f"{'route':<14}{'quality':>9}{'95 %':>16}{'$/1k':>8}{'mix':>7}{'to the first, 95 %':>24}"
    lines = [f"{head}  steps"]
    for row in rows:
        told = ", ".join(f"{step}: {share:.0%}" for step, share in row.steps.items())
        interval = f"{row.low:.3f}-{row.high:.3f}"
        mean, low, high = row.above(rows[0])
        apart = f"{mean:+.3f} ({low:+.3f} {high:+.3f})"
        lines.append(
            f"{row.route:<14}{row.quality:>9.3f}{interval:>16}{row.usd_per_1k:>8.3f}"
            f"{row.mix:>7.3f}{apart:>24}  {told}"
        )
    return "\n".join(lines)
