"""What a dispatch costs beside a thousand waiting jobs, as a ratio to one job's.

Two yards on one real Postgres hold the same planned chunks (`bench/scene.py`), as the work of many
jobs in one and of a single job in the other. Both bind in turns, for little and for much room at
each of three deployments, every run rolled back: what else the machine does meets both alike, so
that the ratio travels where milliseconds do not.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import AsyncConnection

from batchyard.embedded.testing import start_services
from bench.scene import Scene, bind_room, fill
from db.connect import Connection
from db.migrate import migrate

HELP = "a dispatch beside a thousand waiting jobs, as a ratio to one beside a single job"
ROOMS = (400, 30_000)
ROUNDS = 20
UNCOUNTED = 3
"""Rounds before those that count: until statements are prepared and tables are in memory."""


@dataclass(frozen=True, slots=True)
class Took:
    """One dispatch: milliseconds, those of them that our process computed, and chunks bound."""

    ms: float
    cpu_ms: float
    chunks: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians for a room: of the many jobs, of one, and of the ratios round by round."""

    room: int
    many: Took
    one: Took
    ratio: float
    cpu_ratio: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--chunks", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fills both yards, measures, prints."""
    scenes = {
        "many": Scene(arguments.jobs, arguments.chunks),
        "one": Scene(1, arguments.chunks),
    }
    with (
        tempfile.TemporaryDirectory(prefix="batchyard-bench-") as folder,
        start_services(Path(folder) / "home", fsync=True) as services,
    ):
        urls = {name: _database(services.database_url, name) for name in scenes}
        compared = asyncio.run(_run(urls, scenes, arguments.rounds))
    if arguments.json:
        print(json.dumps([asdict(one) for one in compared], indent=2))
    else:
        print(_as_table(compared, scenes["many"]))
    return 0


def _database(url: str, name: str) -> str:
    """An empty yard of that name beside the one at `url`."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"create database {name}".encode())
    made = f"{url.rpartition('/')[0]}/{name}"
    migrate(made)
    return made


async def _run(urls: Mapping[str, str], scenes: Mapping[str, Scene], rounds: int) -> list[Compared]:
    async with (
        await AsyncConnection.connect(urls["many"], autocommit=True) as many,
        await AsyncConnection.connect(urls["one"], autocommit=True) as one,
    ):
        await fill(many, scenes["many"])
        await fill(one, scenes["one"])
        return [await _compare(many, one, room, rounds) for room in ROOMS]


async def _compare(many: Connection, one: Connection, room: int, rounds: int) -> Compared:
    measured = [
        (await _dispatch(many, room), await _dispatch(one, room)) for _ in range(UNCOUNTED + rounds)
    ]
    pairs = measured[UNCOUNTED:]
    return Compared(
        room,
        many=_median([pair[0] for pair in pairs]),
        one=_median([pair[1] for pair in pairs]),
        ratio=statistics.median(a.ms / b.ms for a, b in pairs),
        cpu_ratio=statistics.median(a.cpu_ms / b.cpu_ms for a, b in pairs),
    )


async def _dispatch(conn: Connection, room: int) -> Took:
    await conn.execute("begin")
    began, cpu = time.perf_counter(), time.process_time()
    chunks = await bind_room(conn, room)
    took = Took((time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000, chunks)
    await conn.execute("rollback")
    return took


def _median(took: list[Took]) -> Took:
    return Took(
        statistics.median(one.ms for one in took),
        statistics.median(one.cpu_ms for one in took),
        took[0].chunks,
    )


def _as_table(compared: list[Compared], scene: Scene) -> str:
    load = os.getloadavg()[0]
    lines = [
        f"{scene.jobs} waiting jobs against one, {scene.chunks} chunks each; load {load:.1f}",
        "   room  chunks  many ms   one ms  ratio  our CPU ms    one  ratio",
    ]
    lines += [
        f"{one.room:>7}{one.many.chunks:>8}{one.many.ms:>9.1f}{one.one.ms:>9.1f}{one.ratio:>7.2f}"
        f"{one.many.cpu_ms:>12.1f}{one.one.cpu_ms:>7.1f}{one.cpu_ratio:>7.2f}"
        for one in compared
    ]
    return "\n".join(lines)
