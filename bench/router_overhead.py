"""What routing costs in a running job: CPU a prompt with the router on, against off.

A table of judged prompts is cut in two halves by a seed; one trains a router, and a model of
intents that tells the values of the first metadata column. The other half's prompts, over and over,
are jobs on one fresh yard (`bench/recorded.py`) that differ in their route only: `off` chooses by
load; `threshold`; `optimize` with the budget that `threshold` is expected to need, in waves;
`intents`, after which the route of `off` answers, whatever they are. Everybody has a budget. The
routes take turns, and each is held against the `off` of its own round; a small job of each goes
first and is not counted. CPU is the supervisor's own accounting, of all processes but the
simulator's, plus the submitting client's.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.embedded.detached import cpu_seconds
from bench.halves import Halves, add_data_arguments, halves
from bench.prompt_cpu import NOT_COUNTED
from bench.recorded import line_of, name_of, store, until_ended, yard_of
from bench.yards import BenchYard, fresh_yard, open_context
from core.money import NANO
from db.audit import audit
from db.connect import only_row
from db.router_models import promote, put_model
from routing.labelled import Labelled
from routing.models.file import dump
from routing.models.intent import IntentModel
from routing.threshold import chosen
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.context import Context
from tasks.encoders.words import WordVectors
from tasks.submit import SubmitOptions, submit

HELP = "CPU per prompt with the router on, against off"
ROUTES = ("off", "threshold", "optimize", "intents")
WARM = 200
AMPLE = 1000
TOLD = b"""
select j.status, (select count(*) from waves where job_id = j.id),
  (select count(*) from attempts where job_id = j.id)
from jobs j where j.id = %(job)s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """CPU milliseconds a prompt by process, wall seconds, waves, calls, how it ended."""

    route: str
    cpu_ms: dict[str, float]
    wall: float
    waves: int
    calls: int
    status: str
    audit_ok: bool

    @property
    def total_ms(self) -> float:
        return sum(ms for name, ms in self.cpu_ms.items() if name not in NOT_COUNTED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser, needs_metadata=True)
    parser.add_argument("-n", "--requests", type=int, default=5_000, help="of a job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where an audit found something."""
    cut = halves(arguments)
    examples = Examples(cut.trained.prompts, _topics(cut.trained))
    intents = train_intents(IntentData(examples), WordVectors())
    with fresh_yard(yard_of(cut.data, _routes(cut.data), {}), workers=1, flower=False) as yard:
        rounds = asyncio.run(_measure(yard, cut, intents, arguments.requests, arguments.rounds))
    figures = {
        "requests": arguments.requests,
        "trained_on": len(cut.trained),
        "intents": len(set(_topics(cut.trained))),
        "routes": {
            name: _summed([round_[at] for round_ in rounds], [round_[0] for round_ in rounds])
            for at, name in enumerate(ROUTES)
        },
        "audit_ok": all(job.audit_ok for round_ in rounds for job in round_),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(figures, indent=2) if arguments.json else _as_table(figures))
    return 0 if figures["audit_ok"] else 1


def _topics(data: Labelled) -> list[str]:
    return [next(iter(tags.values())) for tags in data.metadata]


def _routes(data: Labelled) -> dict[str, dict[str, Any]]:
    off = {"candidates": [name_of(one) for one in data.candidates], "choose": "least_busy"}
    asked = {"model": "intents", "out_of_scope": "off", "ambiguous": "answer"}
    return {
        "off": off,
        "threshold": {**off, "choose": "threshold", "router": "router"},
        "optimize": {**off, "choose": "optimize", "router": "router"},
        "intents": {**off, "intents": asked},
    }


async def _measure(
    yard: BenchYard, cut: Halves, intents: IntentModel, requests: int, rounds: int
) -> list[list[Job]]:
    async with open_context(yard) as ctx:
        await store(ctx, cut.model, "router")
        async with ctx.pool.connection() as conn:
            version = await put_model(conn, 1, "intents", "intent", dump(intents), intents.info)
            await promote(conn, 1, "intents", version)
        expected = _expected(cut)
        for name in ROUTES:
            await _play(yard, ctx, cut.data, name, WARM, expected)
        return [
            [await _play(yard, ctx, cut.data, name, requests, expected) for name in ROUTES]
            for _ in range(rounds)
        ]


def _expected(cut: Halves) -> float:
    """Dollars a prompt that the threshold policy is expected to spend."""
    told = cut.model.predict(cut.data.prompts, cut.data.metadata)
    by = chosen(told.quality, told.cost, float(cut.model.info.get("price") or 0.0))
    return float(told.cost[range(len(by)), by].mean())


async def _play(
    yard: BenchYard, ctx: Context, data: Labelled, route: str, requests: int, expected: float
) -> Job:
    """A job of so many requests by the route, from submit to its end."""
    lines = [
        {**line_of(data, number % len(data)), "custom_id": str(number)}
        for number in range(requests)
    ]
    usd = expected * requests * (1 if route == "optimize" else AMPLE)
    options = SubmitOptions(route=route, budget_nusd=int(usd * float(NANO)))
    before, began, own = cpu_seconds(yard.home), time.perf_counter(), time.process_time()
    job = await submit(ctx, lines, options)
    own = time.process_time() - own
    await until_ended(ctx, job)
    wall, after = time.perf_counter() - began, cpu_seconds(yard.home)
    spent = {name: after[name] - before.get(name, 0.0) for name in after} | {"submit": own}
    async with ctx.pool.connection() as conn:
        status, waves, calls = await only_row(conn, TOLD, {"job": job})
        report = await audit(conn, 1, job)
    cpu_ms = {name: seconds * 1000 / requests for name, seconds in spent.items()}
    return Job(route, cpu_ms, wall, waves, calls, status, report.ok)


def _summed(jobs: Sequence[Job], off: Sequence[Job]) -> dict[str, Any]:
    """Medians over the rounds; ratios and `more_ms` of each against its round's `off`."""
    pairs = list(zip(jobs, off, strict=True))
    return {
        "cpu_ms": statistics.median(job.total_ms for job in jobs),
        "by_process": {
            name: statistics.median(job.cpu_ms.get(name, 0.0) for job in jobs)
            for name in jobs[0].cpu_ms
            if name not in NOT_COUNTED
        },
        "ratio": statistics.median(job.total_ms / base.total_ms for job, base in pairs),
        "ratios": [job.total_ms / base.total_ms for job, base in pairs],
        "more_ms": statistics.median(job.total_ms - base.total_ms for job, base in pairs),
        "waves": [job.waves for job in jobs],
        "calls": [job.calls for job in jobs],
        "status": sorted({job.status for job in jobs}),
        "wall": statistics.median(job.wall for job in jobs),
    }


def _as_table(figures: dict[str, Any]) -> str:
    routes: dict[str, dict[str, Any]] = figures["routes"]
    processes = sorted(
        routes["off"]["by_process"], key=lambda name: -routes["off"]["by_process"][name]
    )
    told = f"jobs of {figures['requests']}; trained on {figures['trained_on']} prompts"
    lines = [
        f"{told}, {figures['intents']} intents; load {figures['load']:.1f}",
        f"{'CPU ms a prompt':<22}" + "".join(f"{name:>12}" for name in routes),
    ]
    for name in processes:
        cells = "".join(f"{row['by_process'].get(name, 0.0):>12.4f}" for row in routes.values())
        lines.append(f"{name:<22}{cells}")
    rows = {
        "ALL PROCESSES": [f"{row['cpu_ms']:.4f}" for row in routes.values()],
        "to off, same round": [f"{row['ratio']:.2f}" for row in routes.values()],
        "lowest": [f"{min(row['ratios']):.2f}" for row in routes.values()],
        "highest": [f"{max(row['ratios']):.2f}" for row in routes.values()],
        "more ms": [f"{row['more_ms']:.4f}" for row in routes.values()],
        "waves": [f"{max(row['waves'])}" for row in routes.values()],
        "calls": [f"{max(row['calls'])}" for row in routes.values()],
        "wall s": [f"{row['wall']:.1f}" for row in routes.values()],
    }
    lines += [f"{name:<22}" + "".join(f"{one:>12}" for one in row) for name, row in rows.items()]
    ended = (f"{name}: {'/'.join(row['status'])}" for name, row in routes.items())
    lines.append("ended as " + ", ".join(ended))
    lines.append("audit: " + ("agrees" if figures["audit_ok"] else "VIOLATIONS"))
    return "\n".join(lines)
