"""Fairness: ten prompts behind a million.

A fresh yard as `batchyard up` starts it, on a simulated provider: one job of N requests goes in
through `batchyard submit` in one project; jobs of ten requests go in before it (alone), while it is
being submitted, and behind it, in another project and in its own. Each small job's time is from
its submit's beginning to its end as Postgres has it. Then the large job is paused, resumed and
cancelled, with the time until nothing unsent of it is bound or held by a lane.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.prompt_cpu import configuration
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from db.connect import only_row
from tasks.context import Context
from tasks.lifecycle import cancel, pause, resume
from tasks.submit import SubmitOptions, submit

HELP = "a job of ten requests behind one of a million: its time to finish"
SMALL = 10
LONGEST = 900.0
WELL_UNDER_WAY = 5_000
ENDED = b"select ended_at is not null from jobs where id = %(job)s"
HELD = b"""
select count(*) filter (where status = 'leased'), count(*) filter (where status <> 'leased')
from chunks where job_id = %(job)s and kind = 'call' and (
  status in ('ready', 'waiting') or (status = 'leased' and sent < size))
"""
DONE = b"""
select coalesce(sum(completed), 0)::int, coalesce(sum(failed), 0)::int
from job_counters where job_id = %(job)s
"""


@dataclass(slots=True)
class Figures:
    """Seconds, by what was asked."""

    requests: int
    submit: float = 0.0
    small: dict[str, list[float]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    freed: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    audit_ok: bool = False
    load: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--requests", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=8, help="small jobs of each kind")
    parser.add_argument("--workers", type=int, default=1, help="call workers")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency-ms", type=float, default=200)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    config = configuration(arguments.in_flight, arguments.latency_ms)
    with fresh_yard(config, workers=arguments.workers, flower=False) as yard:
        figures = asyncio.run(_measure(yard, arguments))
    figures.load = os.getloadavg()[0]
    print(json.dumps(asdict(figures), indent=2) if arguments.json else _as_table(figures))
    return 0 if figures.audit_ok else 1


async def _measure(yard: BenchYard, arguments: argparse.Namespace) -> Figures:
    lines = yard.folder / "large.jsonl"
    _write_input(lines, arguments.requests)
    figures = Figures(arguments.requests)
    async with open_context(yard) as ctx:
        await _small_job(ctx, "warm-up")
        kinds = figures.small
        kinds["alone"] = [await _small_job(ctx, "other") for _ in range(arguments.small)]
        began = time.perf_counter()
        handing_in = asyncio.create_task(_submit_large(yard, lines))
        kinds["while it is submitted"] = during = []
        while not handing_in.done():
            during.append(await _small_job(ctx, "other"))
            await asyncio.sleep(0.2)
        large = await handing_in
        figures.submit = time.perf_counter() - began
        await _until_busy(ctx, large, arguments.requests)
        for kind, project in (("behind it", "other"), ("behind it, its project", "bulk")):
            before, since = await _done(ctx, large), time.perf_counter()
            kinds[kind] = []
            for _ in range(arguments.small):
                kinds[kind].append(await _small_job(ctx, project))
                await asyncio.sleep(0.5)
            done = await _done(ctx, large) - before
            figures.rate = done / (time.perf_counter() - since)
            figures.done[kind] = await _done(ctx, large)
        await _stop(ctx, large, figures)
        figures.audit_ok = await _audit(ctx, large)
    return figures


def _write_input(path: Path, requests: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(requests):
            line = {"prompt": f"Which label has message {number}?", "max_tokens": 16}
            file.write(json.dumps(line) + "\n")


async def _submit_large(yard: BenchYard, lines: Path) -> int:
    environ = {**os.environ, "BATCHYARD_HOME": str(yard.home.path)}
    argv = ["-m", "batchyard", "submit", str(lines), "--project", "bulk", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, env=environ, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return int(json.loads(told)["id"].removeprefix("job_"))


async def _small_job(ctx: Context, project: str) -> float:
    """Seconds from the submit of ten requests to the job's end."""
    lines = [{"prompt": f"Which label has {n}?", "max_tokens": 16} for n in range(SMALL)]
    began = time.perf_counter()
    job = await submit(ctx, lines, SubmitOptions(project=project))
    while time.perf_counter() - began < LONGEST:
        async with ctx.pool.connection() as conn:
            (ended,) = await only_row(conn, ENDED, {"job": job})
        if ended:
            return time.perf_counter() - began
        await asyncio.sleep(0.02)
    raise TimeoutError(f"job_{job} did not end within {LONGEST:.0f} s")


async def _done(ctx: Context, job: int) -> int:
    async with ctx.pool.connection() as conn:
        return int((await only_row(conn, DONE, {"job": job}))[0])


async def _until_busy(ctx: Context, job: int, requests: int) -> None:
    """Until the job is well under way, with the horizon in front of the provider full of it."""
    for _ in range(int(LONGEST)):
        if await _done(ctx, job) >= min(WELL_UNDER_WAY, requests // 20):
            return
        await asyncio.sleep(0.5)


async def _stop(ctx: Context, job: int, figures: Figures) -> None:
    for name, step in (("pause", pause), ("cancel", cancel)):
        async with ctx.pool.connection() as conn:
            (project,) = await only_row(
                conn, b"select project_id from jobs where id = %(job)s", {"job": job}
            )
        began = time.perf_counter()
        await step(ctx, project, job)
        figures.freed[f"{name}: unbound"] = await _seconds_until_free(ctx, job, began, index=1)
        figures.freed[f"{name}: lanes free"] = await _seconds_until_free(ctx, job, began, index=0)
        if step is pause:
            await asyncio.sleep(2)
            await resume(ctx, project, job)
            await asyncio.sleep(5)


async def _seconds_until_free(ctx: Context, job: int, began: float, *, index: int) -> float:
    while True:
        async with ctx.pool.connection() as conn:
            held = await only_row(conn, HELD, {"job": job})
        if not held[index]:
            return time.perf_counter() - began
        await asyncio.sleep(0.05)


async def _audit(ctx: Context, job: int) -> bool:
    """Of both projects, once the large job has ended."""
    ended = False
    while not ended:
        await asyncio.sleep(0.5)
        async with ctx.pool.connection() as conn:
            (ended,) = await only_row(conn, ENDED, {"job": job})
    async with ctx.pool.connection() as conn:
        projects = await (await conn.execute(b"select id from projects")).fetchall()
        return all([(await audit(conn, id_)).ok for (id_,) in projects])


def _as_table(figures: Figures) -> str:
    rows: list[tuple[Any, ...]] = [
        (kind, len(times), f"{statistics.median(times):.2f}", f"{max(times):.2f}")
        for kind, times in figures.small.items()
        if times
    ]
    table = [f"{'ten requests':<26}{'jobs':>6}{'median s':>10}{'slowest s':>11}"]
    table += [
        f"{kind:<26}{jobs:>6}{median:>10}{slowest:>11}" for kind, jobs, median, slowest in rows
    ]
    freed = [f"{name} after {seconds:.2f} s" for name, seconds in figures.freed.items()]
    large = (
        f"large job: {figures.requests} requests, submitted in {figures.submit:.1f} s, "
        f"{figures.rate:.0f} requests/s beside the small ones"
    )
    told = f"audit {'agrees' if figures.audit_ok else 'FOUND SOMETHING'}; load {figures.load:.1f}"
    return "\n".join((large, *table, f"its results by then: {figures.done}", *freed, told))
