"""What claiming and dispatching cost with 1,000 active jobs and 500,000 open chunks.

A real Postgres with the yard's own settings and schema is filled by SQL; then each statement of
the claim and dispatch path runs as the product sends it, every run rolled back. Shown are the
median time as a client sees it, buffers, and the plan in one line, with parameters (custom) and
without (generic, what a prepared statement may use). A sequential scan of `chunks` fails the run.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchyard.embedded.testing import start_services
from bench.scene import DEPLOYMENTS, PROVIDER, Scene, fill
from db.connect import Connection, open_pool, statements
from db.migrate import migrate

HELP = "time and plans of claim, bind and the other statements over 500,000 chunks"
HORIZON = 30_000
ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement: milliseconds (median and the slowest in twenty), rows, buffers, plans."""

    name: str
    ms: float
    p95_ms: float
    rows: int
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
    async with open_pool(database_url) as pool, pool.connection() as conn:
        began = time.perf_counter()
        owner = await fill(conn, scene)
        seconds = time.perf_counter() - began
        measured = []
        for name, statement, params in _statements(owner, scene):
            one = await _measure(conn, name, statement, params, arguments.rounds)
            measured.append(one)
            if arguments.plans:
                print(f"== {name}\n{await _whole_plan(conn, statement, params)}\n")
        return measured, seconds


def _statements(owner: int, scene: Scene) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, statement and parameters, as the product sends them."""
    dispatch, lease = statements("dispatch"), statements("lease")
    processes, record, finish = statements("processes"), statements("record"), statements("finish")
    first = DEPLOYMENTS[0]
    few = 200 * scene.jobs // 2
    yield "claim", lease["claim"], {"deployment": first, "owner": owner, "room": 200}
    for room in (400, HORIZON, few):
        depth = max(2, 2 * (room // 200 + 1) // scene.jobs + 1)
        params = {"deployment": first, "room": room, "depth": depth}
        yield f"bind, room {room}", dispatch["bind"], params
    yield "work", dispatch["work"], {"deployments": list(DEPLOYMENTS)}
    yield "active_jobs", dispatch["active_jobs"], {}
    yield "rate", dispatch["rate"], {"deployment": first}
    yield "live_lanes", dispatch["live_lanes"], {"provider": PROVIDER, "lost_after": 20.0}
    yield "drained", record["drained"], {"job_ids": list(range(1, 9))}
    yield "orphaned", processes["orphaned"], {}
    yield "unfinished", finish["unfinished"], {}
    yield "unrouted", finish["unrouted"], {}


async def _measure(
    conn: Connection, name: str, statement: bytes, params: dict[str, Any], rounds: int
) -> Measured:
    times, rows = [], 0
    for _ in range(rounds):
        await conn.execute("begin")
        began = time.perf_counter()
        cursor = await conn.execute(statement, params)
        rows = len(await cursor.fetchall()) if cursor.description else cursor.rowcount
        times.append((time.perf_counter() - began) * 1000)
        await conn.execute("rollback")
    await conn.execute("begin")
    explain = b"explain (analyze, buffers, format json) " + statement
    [(custom,)] = await (await conn.execute(explain, params)).fetchall()
    await conn.execute("rollback")
    generic = await _generic(conn, statement, params)
    top = custom[0]["Plan"]
    return Measured(
        name=name,
        ms=statistics.median(times),
        p95_ms=statistics.quantiles(times, n=20)[-1],
        rows=rows,
        buffers=top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        plan=_in_one_line(top),
        scans=(*_scans(top, "custom"), *_scans(generic, "generic")),
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
    [(plan,)] = await (await conn.execute(explain)).fetchall()
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


def _in_one_line(plan: dict[str, Any]) -> str:
    """The accesses of the plan in their order, equal neighbours once."""
    found: list[str] = []
    for node in _nodes(plan):
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
        f"{'statement':<20}{'ms':>9}{'p95 ms':>9}{'rows':>7}{'buffers':>9}  access",
    ]
    lines += [
        f"{one.name:<20}{one.ms:>9.2f}{one.p95_ms:>9.2f}{one.rows:>7}{one.buffers:>9}  {one.plan}"
        for one in measured
    ]
    return "\n".join(lines)
