"""How much of a provider's limit a yard uses, and how often it is turned away.

A fresh yard with two call workers works off one job on a simulated provider that enforces its
limit with two seconds of burst. Counted is what the provider itself counted between the 5th and
the 35th second after its first answer: answers a second against what the limit allows, and the
share of calls that it answered with 429. Afterwards the job goes on to its end, and every request
must have its result.

A provider with slots refuses nothing: it works on so many calls at once, and the others wait. More
calls in flight only make each of them take longer, so these are counted, too.
"""

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urljoin

from bench.cases import add_cases
from bench.watching import Seen, completed, seen
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from tasks.submit import SubmitOptions, submit

HELP = "use of a provider's rate limit by two workers, and the 429s it costs"
TEXT = "Sort this message into one of the labels: billing, delivery, account, other. " * 12
MAX_TOKENS = 64
OUTPUT_TOKENS = 20
WORKERS = 2
BEGIN, END = 5.0, 35.0
RPM, TPM = 6_000, 1_500_000
LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """What the provider enforces and says, what is declared, and what is to be reached."""

    title: str
    enforced: dict[str, Any]
    declared: dict[str, int]
    least_use: float
    most_429: float
    most_flying: float | None = None


CASES = {
    "rpm": Case("RPM-bound", {"rpm": RPM}, {"rpm": RPM}, 0.99, 0.001),
    "tpm": Case("TPM-bound", {"tpm": TPM}, {"tpm": TPM}, 0.99, 0.001),
    "rpm-high": Case(
        "RPM declared 30 % too high",
        {"rpm": RPM, "told": False},
        {"rpm": RPM * 13 // 10},
        0.90,
        0.02,
    ),
    "tpm-high": Case(
        "TPM declared 30 % too high",
        {"tpm": TPM, "told": False},
        {"tpm": TPM * 13 // 10},
        0.90,
        0.02,
    ),
    "none": Case("RPM-bound, none declared", {"rpm": RPM, "told": False}, {}, 0.90, 0.02),
    "none-told": Case("RPM-bound, none declared, headers", {"rpm": RPM}, {}, 0.90, 0.02),
    "none-tpm": Case("TPM-bound, none declared", {"tpm": TPM, "told": False}, {}, 0.90, 0.02),
    "none-flight": Case("64 at once, none declared", {"in_flight": 64}, {}, 0.90, 0.02),
    "none-slots": Case("8 slots, none declared", {"slots": 8}, {}, 0.97, 0.0, 24),
    "none-slots-64": Case("64 slots, none declared", {"slots": 64}, {}, 0.97, 0.0, 192),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One case's figures; `use` and `throttled` are shares, `flying` the mean of calls in flight,
    `seconds` what each second had: answers, 429s, and calls in flight at its end."""

    case: str
    use: float
    throttled: float
    answered: int
    lost: int
    audit_ok: bool
    load: float
    flying: float
    seconds: list[Seen]

    @property
    def ok(self) -> bool:
        case = CASES[self.case]
        reached = self.use >= case.least_use and self.throttled <= case.most_429
        crowded = case.most_flying is not None and self.flying > case.most_flying
        return reached and not crowded and not self.lost and self.audit_ok


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cases(parser, CASES)
    parser.add_argument("--latency-ms", type=float, default=300)
    parser.add_argument("--seconds", action="store_true", help="print every second's counts too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where a case misses its goal."""
    runs = []
    for name in arguments.cases:
        with fresh_yard(
            configuration(CASES[name], arguments.latency_ms), workers=WORKERS, flower=False
        ) as yard:
            runs.append(asyncio.run(_measure(yard, name, arguments.latency_ms)))
        if not arguments.json:
            print(_line(runs[-1]), flush=True)
            if arguments.seconds:
                print("   ", " ".join("/".join(map(str, one)) for one in runs[-1].seconds))
    if arguments.json:
        print(json.dumps([asdict(one) for one in runs], indent=2))
    return 0 if all(one.ok for one in runs) else 1


def configuration(case: Case, latency_ms: float) -> dict[str, Any]:
    """One provider with the case's limits."""
    price = {"input_per_mtok": 0.25, "output_per_mtok": 2}
    profile = {
        "seed": 7,
        "latency": {"kind": "lognormal", "ms": latency_ms, "sigma": 0.3},
        "limits": case.enforced,
        "models": {"small": {"price": price, "output_tokens": OUTPUT_TOKENS}},
    }
    small = {"provider": "sim", "model": "small", "limits": case.declared, "price": price}
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": {"small": small},
        "routes": {"default": {"candidates": ["small"], "max_output": MAX_TOKENS}},
    }


def _allowed(case: Case, latency_ms: float) -> float:
    """Answers a second that the limit allows; the simulator charges input and output limit when
    a call comes in."""
    if "rpm" in case.enforced:
        return float(case.enforced["rpm"]) / 60
    if "tpm" in case.enforced:
        return float(case.enforced["tpm"]) / 60 / (_prompt_tokens() + MAX_TOKENS)
    mean = latency_ms / 1000 * 2.718281828 ** (0.3**2 / 2)
    return float(case.enforced.get("slots") or case.enforced["in_flight"]) / mean


def _text(number: int) -> str:
    return f"{TEXT}[#{number:06d}]"


def _prompt_tokens() -> int:
    """As the simulator counts: four bytes a token, three for the message, three for the reply."""
    return -(-len(_text(0)) // 4) + 6


async def _measure(yard: BenchYard, name: str, latency_ms: float) -> Run:
    case = CASES[name]
    allowed = _allowed(case, latency_ms)
    requests = round(allowed * (END + 8))
    lines = [
        {"messages": [{"role": "user", "content": _text(n)}], "max_tokens": MAX_TOKENS}
        for n in range(requests)
    ]
    async with open_context(yard) as context:
        job_id = await submit(context, lines, SubmitOptions())
        stats = urljoin(yard.deployments["small"].base_url, "/sim/stats")
        seconds = await asyncio.to_thread(_watch, stats)
        async with context.pool.connection() as conn:
            done = await completed(conn, job_id, LONGEST)
            report = await audit(conn, 1, job_id)
    window = seconds[int(BEGIN) : int(END)]
    answered = sum(one.answered for one in window)
    throttled = sum(one.throttled for one in window)
    return Run(
        case=name,
        use=answered / (END - BEGIN) / allowed,
        throttled=throttled / max(1, answered + throttled),
        answered=answered,
        lost=requests - done,
        audit_ok=report.ok,
        load=os.getloadavg()[0],
        flying=sum(one.in_flight for one in window) / len(window),
        seconds=seconds,
    )


def _watch(url: str) -> list[Seen]:
    """Answers and 429s of every second since the first answer."""
    before = seen(url)
    while not before.answered and not before.throttled:
        time.sleep(0.01)
        before = seen(url)
    began, seconds = time.monotonic(), []
    for number in range(1, int(END) + 1):
        time.sleep(max(0.0, began + number - time.monotonic()))
        now = seen(url)
        answered, throttled = now.answered - before.answered, now.throttled - before.throttled
        seconds.append(Seen(answered, throttled, now.in_flight))
        before = now
    return seconds


def _line(one: Run) -> str:
    case = CASES[one.case]
    most = "" if case.most_flying is None else f", ≤ {case.most_flying:.0f} in flight"
    verdict = "ok" if one.ok else f"MISSED (≥ {case.least_use:.0%}, ≤ {case.most_429:.1%}{most})"
    return (
        f"{one.case:<14}{case.title:<36}{one.use:>7.1%} used{one.throttled:>8.2%} 429s"
        f"{one.flying:>6.0f} in flight{one.lost:>4} lost  load {one.load:>4.1f}  {verdict}"
    )
