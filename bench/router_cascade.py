"""Cascades against the strong model alone, on recorded answers with their prices.

A table of judged prompts (a row a prompt; of each candidate its score, `|total_cost` and
`|model_response`) is cut in two halves by a seed. One half trains the acceptance scorer; the other
is a job for each route on a fresh yard, whose simulated provider gives the recorded answers at the
recorded costs (to a thousandth of the candidate's dearest answer). Quality is the mean score of
the answers that came out; the price is the sum over all calls, by the ledger. `mix` is what a mix
by lot of two single candidates gives at that price.
"""

import argparse
import asyncio
import json
import os
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from batchyard.choosing import Sample, train_on
from batchyard.recognise import Wanted, recognise
from batchyard.tables import read_table, rows_of, take_rows
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from db.connect import only_row
from db.results import stream_results
from db.router_models import promote, put_model
from routing.choice_model import ChoiceModel
from routing.labelled import Labelled
from routing.model_file import dump
from tasks.context import Context
from tasks.submit import SubmitOptions, submit
from workers.score_answers import score
from workers.score_frames import Answers

HELP = "cascades against the strong model alone, on recorded answers"
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--candidates",
        default="mistralai/mixtral-8x7b-chat,zero-one-ai/Yi-34B-Chat,gpt-4-1106-preview",
        help="columns, the cheap ones first, the strong one last",
    )
    parser.add_argument("--compare", choices=("exact", "choice", "json"), default="exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    table = read_table(arguments.data)
    order = np.random.default_rng(arguments.seed).permutation(rows_of(table))
    half = len(order) // 2
    wanted = Wanted(candidates=tuple(arguments.candidates.split(",")))
    model, _ = train_on(take_rows(table, sorted(order[:half].tolist())), wanted, Sample())
    data = recognise(take_rows(table, sorted(order[half:].tolist())), wanted).data
    data = data.take(np.flatnonzero(~np.isnan(data.quality).any(axis=1)))
    config = _configuration(data, arguments.compare)
    with fresh_yard(config, workers=1, flower=False) as yard:
        rows = asyncio.run(_measure(yard, data, model))
    figures = {
        "requests": len(data),
        "trained_on": half,
        "routes": [asdict(row) for row in rows],
        "scoring_ms": _scoring_cpu(data, model),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(figures, indent=2) if arguments.json else _as_table(figures))
    return 0 if all(row.audit_ok for row in rows) else 1


def _name(column: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", column)


def _price(data: Labelled, place: int) -> dict[str, float]:
    dearest = float(np.nanmax(data.cost[:, place]))
    return {"input_per_mtok": 0.0, "output_per_mtok": round(dearest * 1e6 / SHARP, 6)}


def _answer(data: Labelled, row: int, place: int) -> dict[str, Any]:
    """The recorded answer, with as many tokens as its cost needs."""
    price = _price(data, place)["output_per_mtok"]
    tokens = round(float(data.cost[row, place]) * 1e6 / price)
    text = data.responses[data.candidates[place]][row]
    return {"text": text, "prompt_tokens": 1, "completion_tokens": max(1, tokens)}


def _configuration(data: Labelled, compare: str) -> dict[str, Any]:
    places = range(len(data.candidates))
    answers = {
        str(row): {"by_model": {data.candidates[p]: _answer(data, row, p) for p in places}}
        for row in range(len(data))
    }
    names = [_name(one) for one in data.candidates]
    profile = {
        "latency": {"ms": 20},
        "models": {data.candidates[p]: {"price": _price(data, p)} for p in places},
        "answers": answers,
    }
    common = {"candidates": names, "max_output": 2 * SHARP}
    learned = {"choose": "cascade", "router": {"model": "judge"}}
    routes = {
        "strong": {"candidates": names[-1:], "max_output": 2 * SHARP},
        "cheap": {"candidates": names[:1], "max_output": 2 * SHARP},
        "agreement": {
            **common,
            "choose": "cascade",
            "cascade": {"accept": "agreement", "compare": compare},
        },
        "learned": {**common, **learned, "candidates": [names[0], names[-1]]},
        "learned-2": {**common, **learned, "cascade": {"ask": 2}},
    }
    deployments = {
        _name(data.candidates[p]): {
            "provider": "sim",
            "model": data.candidates[p],
            "price": _price(data, p),
            "limits": {"in_flight": 64},
        }
        for p in places
    }
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": deployments,
        "routes": routes,
    }


async def _measure(yard: BenchYard, data: Labelled, model: ChoiceModel) -> list[Row]:
    async with open_context(yard) as ctx:
        async with ctx.pool.connection() as conn:
            # As the yard names them: a model's candidates are names of deployments.
            renamed = replace(model, candidates=tuple(map(_name, model.candidates)))
            info = {**model.info, "candidates": list(renamed.candidates)}
            version = await put_model(conn, 1, "judge", "choice", dump(renamed), info)
            await promote(conn, 1, "judge", version)
        return [await _route(ctx, data, name) for name in yard.settings.routes if name != "default"]


async def _route(ctx: Context, data: Labelled, route: str) -> Row:
    lines = [
        {"custom_id": str(row), "prompt": prompt, "user": str(row)}
        for row, prompt in enumerate(data.prompts)
    ]
    began = time.perf_counter()
    job = await submit(ctx, lines, SubmitOptions(route=route))
    await _until_ended(ctx, job)
    seconds = time.perf_counter() - began
    places = {_name(one): place for place, one in enumerate(data.candidates)}
    quality, cost, calls, steps = np.zeros(len(data)), 0.0, 0, Counter[str]()
    async with ctx.pool.connection() as conn:
        async for block in stream_results(conn, 1, job):
            for line in map(json.loads, block.splitlines()):
                told = line["batchyard"]
                row = int(line["custom_id"])
                quality[row] = data.quality[row, places[told["deployment"]]]
                cost += float(told["cost_usd"])
                calls += told["attempts"]
                steps[str(told.get("cascade", {"step": 1})["step"])] += 1
        report = await audit(conn, 1, job)
    means = np.random.default_rng(0).choice(quality, (RESAMPLES, len(quality))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    usd = 1000 * cost / len(data)
    shares = {step: round(count / len(data), 3) for step, count in sorted(steps.items())}
    mean = float(quality.mean())
    mix = _mix(data, usd)
    return Row(route, mean, low, high, usd, mix, shares, calls, seconds, report.ok)


async def _until_ended(ctx: Context, job: int) -> None:
    async with asyncio.timeout(LONGEST):
        while True:
            async with ctx.pool.connection() as conn:
                (ended,) = await only_row(conn, ENDED, {"job": job})
            if ended:
                return
            await asyncio.sleep(0.1)


def _mix(data: Labelled, usd_per_1k: float) -> float:
    """The best mean score of a mix by lot of two candidates at that price."""
    prices = 1000 * np.nanmean(data.cost, axis=0)
    scores = np.nanmean(data.quality, axis=0)
    best = 0.0
    for one, price in enumerate(prices):
        for two, other in enumerate(prices):
            if price <= usd_per_1k + 1e-9:
                share = 0.0 if other <= price else min(1.0, (usd_per_1k - price) / (other - price))
                best = max(best, float((1 - share) * scores[one] + share * scores[two]))
    return best


def _scoring_cpu(data: Labelled, model: ChoiceModel) -> dict[str, float]:
    """Milliseconds of CPU an answer, in batches of one and of 64."""
    if model.acceptance is None:
        return {}
    texts = data.responses[data.candidates[0]]
    asked = [Answers(prompt, [text]) for prompt, text in zip(data.prompts, texts, strict=True)]
    score(model.acceptance, asked[:64])
    found = {}
    for size in (1, 64):
        few = asked[: 4 * 64]
        began = time.process_time()
        for at in range(0, len(few), size):
            score(model.acceptance, few[at : at + size])
        found[str(size)] = round((time.process_time() - began) / len(few) * 1e3, 3)
    return found


def _as_table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['requests']} requests a route, trained on {figures['trained_on']} others",
        f"{'route':<12}{'quality':>9}{'95 %':>16}{'$/1k':>8}{'mix':>7}  steps",
    ]
    for row in figures["routes"]:
        told = ", ".join(f"{step}: {share:.0%}" for step, share in row["steps"].items())
        interval = f"{row['low']:.3f}-{row['high']:.3f}"
        lines.append(
            f"{row['route']:<12}{row['quality']:>9.3f}{interval:>16}{row['usd_per_1k']:>8.3f}"
            f"{row['mix']:>7.3f}  {told}"
        )
    told = ", ".join(f"{ms} ms in batches of {n}" for n, ms in figures["scoring_ms"].items())
    return "\n".join([*lines, f"scoring, CPU an answer: {told}", f"load {figures['load']:.1f}"])
