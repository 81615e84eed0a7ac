"""What 429s cost that come whatever is sent.

A fresh yard with two call workers works off one job on a simulated provider that answers a share
of its calls with a 429 and a Retry-After, at random and at once, and all others as if nothing had
been. Compared is the time from the provider's first call to the job's end with that of a provider
without 429s, in a yard of its own: nobody need wait for anybody else's 429.

The last case is the other side: a provider that refuses every call for longer than its
Retry-After. Counted is how many calls it sees before that is over.
"""

import argparse
import asyncio
import json
import os
import time
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urljoin

from bench.cases import add_cases
from bench.watching import completed, counts
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from tasks.submit import SubmitOptions, submit

HELP = "what random 429s with a Retry-After cost, and what a provider sees that means them"
WORKERS, IN_FLIGHT = 2, 64
MAX_TOKENS = 16
GOAL = 2.0
DRY_WAIT, DRY_BEGIN, MOST_PROBES = 20.0, 1.0, 5
LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """The share of 429s and their Retry-After in seconds; whether the calls at once are
    declared."""

    share: float
    wait: float = 1.0
    declared: bool = True


CASES = {
    "calm": Case(0.0),
    "10%-1s": Case(0.10, 1),
    "3%-1s": Case(0.03, 1),
    "10%-20s": Case(0.10, 20),
    "3%-20s": Case(0.03, 20),
    "calm-undeclared": Case(0.0, declared=False),
    "10%-20s-undeclared": Case(0.10, 20, declared=False),
    "dry": Case(1.0, DRY_WAIT),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One case's figures: `ratio` to the time without 429s where that was measured, the share of
    429s, and of a dry provider the calls that it saw between the first second and the end of its
    first Retry-After."""

    case: str
    seconds: float
    ratio: float | None
    throttled: float
    probes: int | None
    lost: int
    audit_ok: bool
    load: float

    @property
    def ok(self) -> bool:
        slow = self.probes is None and self.ratio is not None and self.ratio > GOAL
        pushy = self.probes is not None and self.probes > MOST_PROBES
        return not slow and not pushy and not self.lost and self.audit_ok


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser, CASES)
    parser.add_argument("-n", "--requests", type=int, default=3_000)
    parser.add_argument("--latency-ms", type=float, default=100)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where a case misses its goal."""
    runs: list[Run] = []
    for name in arguments.cases:
        with fresh_yard(
            configuration(CASES[name], arguments.latency_ms), workers=WORKERS, flower=False
        ) as yard:
            runs.append(asyncio.run(_measure(yard, name, arguments.requests, runs)))
        if not arguments.json:
            print(_line(runs[-1]), flush=True)
    if arguments.json:
        print(json.dumps([asdict(one) for one in runs], indent=2))
    return 0 if all(one.ok for one in runs) else 1


def configuration(case: Case, latency_ms: float) -> dict[str, Any]:
    """One provider that answers so, and enforces nothing."""
    price = {"input_per_mtok": 0.25, "output_per_mtok": 2}
    profile = {
        "seed": 7,
        "latency": {"kind": "lognormal", "ms": latency_ms, "sigma": 0.3},
        "faults": {"p_429": case.share, "retry_after_ms": round(1000 * case.wait)},
        "models": {"small": {"price": price, "output_tokens": 10}},
    }
    limits = {"in_flight": IN_FLIGHT} if case.declared else {}
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": {
            "small": {"provider": "sim", "model": "small", "limits": limits, "price": price}
        },
        "routes": {"default": {"candidates": ["small"], "max_output": MAX_TOKENS}},
    }


async def _measure(yard: BenchYard, name: str, requests: int, before: list[Run]) -> Run:
    case = CASES[name]
    lines = [{"prompt": f"Which label has message {n}?"} for n in range(requests)]
    async with open_context(yard) as context:
        job_id = await submit(context, lines, SubmitOptions())
        stats = urljoin(yard.deployments["small"].base_url, "/sim/stats")
        first = await asyncio.to_thread(_first_call, stats)
        probes = await asyncio.to_thread(_dry, stats, first) if case.share == 1 else None
        async with context.pool.connection() as conn:
            done = await completed(conn, job_id, LONGEST)
            seconds = time.monotonic() - first
            report = await audit(conn, 1, job_id)
    answered, throttled = counts(stats)
    return Run(
        case=name,
        seconds=seconds,
        ratio=None if probes is not None else _ratio(case, seconds, before),
        throttled=throttled / (answered + throttled),
        probes=probes,
        lost=requests - done,
        audit_ok=report.ok,
        load=os.getloadavg()[0],
    )


def _ratio(case: Case, seconds: float, before: list[Run]) -> float | None:
    calm = "calm" if case.declared else "calm-undeclared"
    return next((seconds / one.seconds for one in before if one.case == calm), None)


def _first_call(url: str) -> float:
    while counts(url) == (0, 0):
        time.sleep(0.01)
    return time.monotonic()


def _dry(url: str, first: float) -> int:
    """Lets the provider answer when its first Retry-After is over."""
    time.sleep(max(0.0, first + DRY_BEGIN - time.monotonic()))
    before = sum(counts(url))
    time.sleep(max(0.0, first + DRY_WAIT - time.monotonic()))
    seen = sum(counts(url)) - before
    patch = json.dumps({"faults": {"p_429": 0}}).encode()
    with urllib.request.urlopen(urljoin(url, "/sim/config"), data=patch, timeout=10):
        return seen


def _line(one: Run) -> str:
    told = "" if one.ratio is None else f"{one.ratio:.2f} times"
    if one.probes is not None:
        told = f"{one.probes} probes"
    return (
        f"{one.case:<20}{one.seconds:>7.1f} s{told:>12}{one.throttled:>8.1%} 429s"
        f"{one.lost:>4} lost  load {one.load:>4.1f}  {'ok' if one.ok else 'MISSED'}"
    )
