"""What benches look at while a job runs: the simulator's own counts, and the job's end."""

import asyncio
import json
import time
import urllib.request
from typing import NamedTuple

from db.connect import Connection


class Seen(NamedTuple):
    """What the simulator has answered and refused with a 429 so far, and its calls in flight."""

    answered: int
    throttled: int
    in_flight: int


def seen(url: str) -> Seen:
    """What it has seen; `url` is that of its statistics."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        stats = json.load(reply)
    status = stats["status"]
    return Seen(int(status.get("200", 0)), int(status.get("429", 0)), int(stats["in_flight"]))


def counts(url: str) -> tuple[int, int]:
    """How many calls the simulator has answered, and how many it refused with a 429."""
    answered, throttled, _ = seen(url)
    return answered, throttled


async def completed(conn: Connection, job_id: int, longest: float) -> int:
    """Waits for the end of the job, `longest` seconds at most; how many of its requests are
    completed."""
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        cursor = await conn.execute("select ended_at from jobs where id = %s", (job_id,))
        [(ended,)] = await cursor.fetchall()
        if ended is not None:
            break
        await asyncio.sleep(0.05)
    query = "select count(*) from results where job_id = %s and status = 'completed'"
    [(count,)] = await (await conn.execute(query, (job_id,))).fetchall()
    return int(count)
