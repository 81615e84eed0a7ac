"""What claiming and dispatching cost with 1,000 active jobs and 500,000 open chunks.

A real Postgres with the yard's own settings and schema is filled by SQL; then the functions of
`db` that claim, bind and sweep run on it, every run rolled back. Shown are the median time of a
function as its caller sees it, its buffers, and the accesses of its plans. The statements are
those that the functions were heard to send; they are explained with parameters (custom plan) and
without (generic, what a prepared statement may use). A sequential scan of `chunks` fails the run.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from batchyard.embedded.testing import start_services
from bench.scene import DEPLOYMENTS, PROVIDER, Scene, bind_room, fill
from db import dispatch, finish, lease, planning, processes, vitals
from db.connect import Connection, statements
from db.migrate import migrate
from tasks.binding import CHUNK

DRAINED = statements("record")["drained"]
HELP = "time and plans of claim, bind and the other statements over 500,000 chunks"
ROUNDS = 30
HORIZON = 30_000

Operation = Callable[[Connection], Awaitable[object]]


class Recording(AsyncConnection[tuple[Any, ...]]):
    """A connection that remembers what it was asked."""

    heard: list[tuple[bytes, Any]]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.heard.append((query, params))
        return await super().execute(query, params, **options)


@dataclass(frozen=True, slots=True)
class Measured:
    """One function: milliseconds (median, and the slowest in twenty), buffers, accesses."""

    name: str
    ms: float
    p95_ms: float
    statements: int
    buffers: int
    plan: str
    scans: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--chunks", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plans", action="store_true", help="print the whole plans too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fills, measures, prints; 1 where a plan scans all chunks."""
    scene = Scene(arguments.jobs, arguments.chunks)
    with (
        tempfile.TemporaryDirectory(prefix="batchyard-bench-") as folder,
        start_services(Path(folder) / "home", fsync=True) as services,
    ):
        migrate(services.database_url)
        measured, seconds = asyncio.run(_run(services.database_url, scene, arguments))
    if arguments.json:
        print(json.dumps([asdict(one) for one in measured], indent=2))
    else:
        print(_as_table(measured, scene, seconds))
    scans = [f"{one.name}: {scan}" for one in measured for scan in one.scans]
    if scans:
        print("FAILED, sequential scans of chunks:", *scans, sep="\n  ")
    return 1 if scans else 0


async def _run(
    database_url: str, scene: Scene, arguments: argparse.Namespace
) -> tuple[list[Measured], float]:
    async with await Recording.connect(database_url, autocommit=True) as conn:
        conn.heard = []
        began = time.perf_counter()
        owner = await fill(conn, scene)
        seconds = time.perf_counter() - began
        measured = []
        for name, operation in _operations(owner, scene):
            measured.append(await _measure(conn, name, operation, arguments))
        return measured, seconds


def _operations(owner: int, scene: Scene) -> Iterator[tuple[str, Operation]]:
    first, names = DEPLOYMENTS[0], list(DEPLOYMENTS)
    yield "claim", lambda conn: lease.claim(conn, first, owner=owner, room=CHUNK)
    for room in (2 * CHUNK, HORIZON, CHUNK * scene.jobs // 2):
        yield f"bind {room}", partial(bind_room, room=room)
    yield "waiting_work", lambda conn: dispatch.waiting_work(conn, names)
    yield "read_vitals", vitals.read_vitals
    yield "live_lanes", lambda conn: dispatch.live_lanes(conn, PROVIDER, 20.0)
    yield "drained", lambda conn: conn.execute(DRAINED, {"job_ids": list(range(1, 9))})
    yield "lock_orphans", processes.lock_orphans
    yield "unfinished_jobs", finish.unfinished_jobs
    yield "unrouted_jobs", planning.unrouted_jobs
    yield "drop_unsent", finish.drop_unsent


async def _measure(
    conn: Recording, name: str, operation: Operation, arguments: argparse.Namespace
) -> Measured:
    times = []
    for _ in range(arguments.rounds):
        await conn.execute("begin")
        conn.heard.clear()
        began = time.perf_counter()
        await operation(conn)
        times.append((time.perf_counter() - began) * 1000)
        heard = list(conn.heard)
        await conn.execute("rollback")
    tops, scans = [], []
    for statement, params in heard:
        await conn.execute("begin")
        explain = b"explain (analyze, buffers, format json) " + statement
        [(custom,)] = await (await conn.execute(explain, params)).fetchall()
        await conn.execute("rollback")
        tops.append(custom[0]["Plan"])
        generic = await _generic(conn, statement, params or {})
        scans += [*_scans(tops[-1], "custom"), *_scans(generic, "generic")]
        if arguments.plans:
            print(f"== {name}\n{await _whole_plan(conn, statement, params)}\n")
    return Measured(
        name=name,
        ms=statistics.median(times),
        p95_ms=statistics.quantiles(times, n=20)[-1],
        statements=len(heard),
        buffers=sum(top["Shared Hit Blocks"] + top["Shared Read Blocks"] for top in tops),
        plan=_in_one_line(tops),
        scans=tuple(scans),
    )


async def _generic(conn: Connection, statement: bytes, params: dict[str, Any]) -> Any:
    """The plan of the statement when its parameters are not looked at."""
    if not params:
        [(plan,)] = await (await conn.execute(b"explain (format json) " + statement)).fetchall()
        return plan[0]["Plan"]
    text = statement.replace(b"%%", b"%")
    for number, name in enumerate(params, 1):
        text = text.replace(f"%({name})s".encode(), f"${number}".encode())
    explain = b"explain (generic_plan, format json) " + text
    [(plan,)] = await (await conn.execute(explain, prepare=False)).fetchall()
    return plan[0]["Plan"]


async def _whole_plan(conn: Connection, statement: bytes, params: dict[str, Any]) -> str:
    await conn.execute("begin")
    cursor = await conn.execute(b"explain (analyze, buffers) " + statement, params)
    text = "\n".join(row[0] for row in await cursor.fetchall())
    await conn.execute("rollback")
    return text


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _scans(plan: dict[str, Any], kind: str) -> Iterator[str]:
    for node in _nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "chunks":
            yield f"{kind} plan, {node['Plan Rows']} rows expected"


def _in_one_line(plans: list[dict[str, Any]]) -> str:
    """The accesses of the plans in their order, each once."""
    found: list[str] = []
    for node in (node for plan in plans for node in _nodes(plan)):
        table = node.get("Index Name") or node.get("Relation Name")
        if table and "Scan" in node["Node Type"]:
            kind = node["Node Type"].replace(" Scan", "").lower()
            text = f"{kind} {table}"
            if text not in found:
                found.append(text)
    return ", ".join(found)


def _as_table(measured: list[Measured], scene: Scene, seconds: float) -> str:
    lines = [
        f"{scene.jobs} active jobs, {scene.chunks} open chunks (filled in {seconds:.0f} s)",
        f"{'function':<16}{'ms':>9}{'p95 ms':>9}{'stmts':>7}{'buffers':>9}  accesses",
    ]
    lines += [
        f"{one.name:<16}{one.ms:>9.2f}{one.p95_ms:>9.2f}{one.statements:>7}{one.buffers:>9}"
        f"  {one.plan}"
        for one in measured
    ]
    return "\n".join(lines)
