"""How long the end of a job takes where one of its deployments is much slower than the other.

A fresh yard with two call workers works off one job on two simulated providers: one that
grants 600 calls a minute, and one with room for 64 calls at once. Half a minute is bound ahead to
each. Whoever is done first should help with what the other still has: the job's time is held
against the time that it would take if both were busy until its end.
"""

import argparse
import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from bench.cases import add_cases
from bench.watching import completed
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from db.connect import Connection
from tasks.submit import SubmitOptions, submit

HELP = "the end of a job on a fast and a slow deployment"
WORKERS = 2
RPM, IN_FLIGHT, LATENCY_MS = 600, 64, 300.0
MAX_TOKENS = 16
CASES = ("least_busy", "spread", "fastest")
GOAL = 2.0
LONGEST = 300.0

SPAN = """
select extract(epoch from max(at) - min(at))::float8,
  extract(epoch from max(at) filter (where deployment = 'slow')
    - max(at) filter (where deployment = 'quick'))::float8,
  count(*) filter (where deployment = 'slow')
from attempts where job_id = %s
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One case's figures: `seconds` from its first to its last answer, in how many both could
    have done it, how long the slow one went on after the quick one, and how many it did."""

    case: str
    seconds: float
    ideal: float
    alone: float
    slow: int
    lost: int
    audit_ok: bool
    load: float

    @property
    def ok(self) -> bool:
        return self.seconds <= GOAL * self.ideal and not self.lost and self.audit_ok


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser, CASES)
    parser.add_argument("-n", "--requests", type=int, default=3_000)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where a case misses its goal."""
    runs = []
    for name in arguments.cases:
        with fresh_yard(configuration(name), workers=WORKERS, flower=False) as yard:
            runs.append(asyncio.run(_measure(yard, name, arguments.requests)))
        if not arguments.json:
            print(_line(runs[-1]), flush=True)
    if arguments.json:
        print(json.dumps([asdict(one) for one in runs], indent=2))
    return 0 if all(one.ok for one in runs) else 1


def configuration(policy: str) -> dict[str, Any]:
    """Two providers, and a route that goes by the policy."""
    price = {"input_per_mtok": 0.25, "output_per_mtok": 2}
    profile = {
        "seed": 7,
        "latency": {"kind": "lognormal", "ms": LATENCY_MS, "sigma": 0.3},
        "models": {"small": {"price": price, "output_tokens": 10}},
    }
    slow = {**profile, "limits": {"rpm": RPM}}
    shared = {"model": "small", "price": price}
    return {
        "providers": {
            "slow": {"kind": "simulator", "profile": slow},
            "quick": {"kind": "simulator", "profile": profile},
        },
        "deployments": {
            "slow": {"provider": "slow", "limits": {"rpm": RPM}, **shared},
            "quick": {"provider": "quick", "limits": {"in_flight": IN_FLIGHT}, **shared},
        },
        "routes": {
            "default": {
                "candidates": ["slow", "quick"],
                "choose": policy,
                "max_output": MAX_TOKENS,
            }
        },
    }


async def _measure(yard: BenchYard, name: str, requests: int) -> Run:
    lines = [{"prompt": f"Which label has message {n}?"} for n in range(requests)]
    async with open_context(yard) as context:
        job_id = await submit(context, lines, SubmitOptions())
        async with context.pool.connection() as conn:
            done = await completed(conn, job_id, LONGEST)
            seconds, alone, slow = await _span(conn, job_id)
            report = await audit(conn, 1, job_id)
    mean = LATENCY_MS / 1000 * 2.718281828 ** (0.3**2 / 2)
    return Run(
        case=name,
        seconds=seconds,
        ideal=requests / (RPM / 60 + IN_FLIGHT / mean),
        alone=alone,
        slow=slow,
        lost=requests - done,
        audit_ok=report.ok,
        load=os.getloadavg()[0],
    )


async def _span(conn: Connection, job_id: int) -> tuple[float, float, int]:
    [(seconds, alone, slow)] = await (await conn.execute(SPAN, (job_id,))).fetchall()
    return float(seconds), float(alone or 0.0), int(slow)


def _line(one: Run) -> str:
    return (
        f"{one.case:<12}{one.seconds:>7.1f} s of {one.ideal:>5.1f} s{one.alone:>7.1f} s alone"
        f"{one.slow:>6} at the slow one{one.lost:>4} lost  load {one.load:>4.1f}"
        f"  {'ok' if one.ok else 'MISSED'}"
    )
