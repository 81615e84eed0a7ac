"""CPU per prompt over all processes of a yard, "all features on", split by process.

A fresh yard, as `batchyard up` starts it, works off one job of N requests of about 1 KB on a
simulated provider that answers after 50 ms: 256 calls in flight (`--in-flight 64,256,1024`: one
yard each), RPM and TPM limits declared (and too high to bind), a job budget, three candidates,
attempts and ledger kept, Flower on, and a trained model that reads all of each prompt for its
intent (`--intents FILE` for another than that of examples/intents.yaml, `--no-intents` for none).
`--workers 2 --in-flight 512` shows the whole machine's rate.
CPU is what the supervisor accounts for (wait4 and /proc, all descendants) plus the submitting
client's; the simulator's is shown and not counted. Beside every run stands the floor of the
same minute: the same calls from a bare loop over the same transport. How much of a core the
simulator took says whether it was the bottleneck.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchyard.embedded.detached import cpu_seconds
from bench.floor import measure_floor
from bench.letters import INTENTS, Letters, asking, keep, train
from bench.yards import BenchYard, fresh_yard
from db.audit import audit
from db.connect import Connection, open_pool
from tasks.context import Context
from tasks.submit import SubmitOptions, submit
from workers.broker import CeleryPublisher, make_app

HELP = "CPU per prompt over all processes, split by process"
NOT_COUNTED = ("simulator",)
TEXT = "Sort this message into one of the labels: billing, delivery, account, other. " * 12
OUTPUT_TOKENS = 10
MAX_TOKENS = 16
WAIT = 0.25
LONGEST = 600.0

COUNTS = {
    "transactions": "select xact_commit from pg_stat_database where datname = current_database()",
    "record commits": "select count(distinct commit_id) from ledger",
    "claimed chunks": "select coalesce(sum(fence), 0) from chunks where kind = 'call'",
    "attempts": "select count(*) from attempts",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One job's figures: CPU milliseconds a prompt by process, wall seconds from submit to
    end, prompts a second, what Postgres counted, the floor, and the audit's word."""

    requests: int
    cpu_ms: dict[str, float]
    wall: float
    submit_wall: float
    rate: float
    counts: dict[str, int]
    floor_cpu_ms: float
    floor_rate: float
    audit_ok: bool
    load: float

    @property
    def total_ms(self) -> float:
        return sum(ms for name, ms in self.cpu_ms.items() if name not in NOT_COUNTED)

    def cores(self, *names: str) -> float:
        """Cores that these processes kept busy, from submit to end."""
        ms = sum(ms for name, ms in self.cpu_ms.items() if name in names)
        return ms / 1000 * self.requests / self.wall


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--requests", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3, help="jobs, one after another")
    parser.add_argument("--workers", type=int, default=1, help="call workers")
    parser.add_argument("--in-flight", type=_numbers, default=[256], metavar="N[,N...]")
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument(
        "--intents",
        type=Path,
        default=INTENTS,
        metavar="FILE",
        help="an intents file, or a table with text and label, that trains the model",
    )
    parser.add_argument("--no-intents", action="store_true", help="the same prompts, unread")
    parser.add_argument("--no-flower", action="store_true")
    parser.set_defaults(run=run)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where an audit found something."""
    letters = train(arguments.intents)
    found = {one: _in_a_yard(one, letters, arguments) for one in arguments.in_flight}
    if arguments.json:
        figures = {str(one): _as_json(runs) for one, runs in found.items()}
        print(json.dumps(figures if len(found) > 1 else next(iter(figures.values())), indent=2))
    else:
        print("\n\n".join(_as_table(runs, one, arguments) for one, runs in found.items()))
        if len(found) > 1:
            medians = [statistics.median(one.total_ms for one in runs) for runs in found.values()]
            print(f"\nhighest of these / lowest: {max(medians) / min(medians):.2f}")
    return 0 if all(one.audit_ok for runs in found.values() for one in runs) else 1


def _in_a_yard(in_flight: int, letters: Letters, arguments: argparse.Namespace) -> list[Run]:
    config = configuration(in_flight, arguments.latency_ms)
    if not arguments.no_intents:
        config["routes"] = asking(config["routes"]["default"])
    workers, flower = arguments.workers, not arguments.no_flower
    with fresh_yard(config, workers=workers, flower=flower) as yard:
        keep(yard, letters)
        lines = yard.folder / "input.jsonl"
        write_input(lines, 500, letters.text)
        asyncio.run(one_job(yard, lines, 500))
        write_input(lines, arguments.requests, letters.text)
        bodies = [_body(letters.text(number)) for number in range(arguments.requests // 4)]
        return [
            _measure(yard, lines, arguments.requests, bodies, in_flight)
            for _ in range(arguments.runs)
        ]


def configuration(in_flight: int, latency_ms: float) -> dict[str, Any]:
    """One simulated provider, three candidates on it, limits that do not bind."""
    models = ("small", "medium", "large")
    price = {"input_per_mtok": 0.25, "output_per_mtok": 2}
    limits = {"rpm": 6_000_000, "tpm": 6_000_000_000, "in_flight": in_flight}
    profile = {
        "seed": 1,
        "latency": {"kind": "fixed", "ms": latency_ms},
        "models": {name: {"price": price, "output_tokens": OUTPUT_TOKENS} for name in models},
    }
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": {
            name: {"provider": "sim", "model": name, "limits": limits, "price": price}
            for name in models
        },
        "routes": {"default": {"candidates": list(models), "max_output": 64}},
    }


def same(number: int) -> str:
    """A prompt of about 1 KB that differs from the others by its number."""
    return f"{TEXT}[#{number}]"


def _body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": MAX_TOKENS}


def write_input(path: Path, requests: int, text: Callable[[int], str] = same) -> None:
    """As many lines of about 1 KB."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(requests):
            line = {"custom_id": f"r{number}", **_body(text(number))}
            file.write(json.dumps(line) + "\n")


def _measure(
    yard: BenchYard, lines: Path, requests: int, bodies: list[dict[str, Any]], in_flight: int
) -> Run:
    sent = [json.dumps(body).encode() for body in bodies]
    floor = measure_floor(yard.deployments["small"], sent, in_flight)
    figures = asyncio.run(one_job(yard, lines, requests))
    return Run(**figures, floor_cpu_ms=floor.cpu_ms, floor_rate=floor.rate)


async def one_job(yard: BenchYard, lines: Path, requests: int) -> dict[str, Any]:
    """Submits the lines, waits for the job's end and says what it cost."""
    async with open_pool(yard.database_url) as pool:
        publisher = CeleryPublisher(make_app(yard.broker_url, yard.settings.providers))
        context = Context(yard.settings, yard.deployments, pool, publisher)
        async with pool.connection() as conn:
            before = await _counts(conn)
            cpu, began, own = cpu_seconds(yard.home), time.perf_counter(), time.process_time()
            # Twenty times what the job costs: the budget is kept, and never in the way.
            options = SubmitOptions(budget_nusd=requests * 6_000_000)
            job_id = await submit(context, lines, options)
            submitted, own = time.perf_counter() - began, time.process_time() - own
            await _wait(conn, job_id)
            wall, after = time.perf_counter() - began, cpu_seconds(yard.home)
            counts = await _counts(conn)
            report = await audit(conn, 1, job_id)
    spent = {name: after[name] - cpu.get(name, 0.0) for name in after} | {"submit": own}
    return {
        "requests": requests,
        "cpu_ms": {name: seconds * 1000 / requests for name, seconds in spent.items()},
        "wall": wall,
        "submit_wall": submitted,
        "rate": requests / (wall - submitted),
        "counts": {name: counts[name] - before[name] for name in counts},
        "audit_ok": report.ok and report.facts["completed"] == requests,
        "load": os.getloadavg()[0],
    }


async def _counts(conn: Connection) -> dict[str, int]:
    found = {}
    for name, query in COUNTS.items():
        [(value,)] = await (await conn.execute(query.encode())).fetchall()
        found[name] = int(value)
    return found


async def _wait(conn: Connection, job_id: int) -> None:
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        cursor = await conn.execute("select status, ended_at from jobs where id = %s", (job_id,))
        [(status, ended)] = await cursor.fetchall()
        if ended is not None:
            if status != "completed":
                raise SystemExit(f"the job ended as {status}")
            return
        await asyncio.sleep(WAIT)
    raise SystemExit(f"the job was not over after {LONGEST:.0f} s")


def _as_json(runs: list[Run]) -> dict[str, Any]:
    return {
        "cpu_ms_per_prompt": statistics.median(one.total_ms for one in runs),
        "over_floor": statistics.median(one.total_ms / one.floor_cpu_ms for one in runs),
        "prompts_per_s": statistics.median(one.rate for one in runs),
        "runs": [{**asdict(one), "total_ms": one.total_ms} for one in runs],
    }


def _as_table(runs: list[Run], in_flight: int, arguments: argparse.Namespace) -> str:
    def row(name: str, values: list[float], form: str = "9.4f") -> str:
        cells = "".join(f"{value:>11{form[1:]}}" for value in values)
        return f"{name:<26}{statistics.median(values):>11{form[1:]}} |{cells}"

    names = sorted(runs[0].cpu_ms, key=lambda name: -runs[0].cpu_ms[name])
    counted = [name for name in names if name not in NOT_COUNTED]
    head = f"{arguments.requests} requests, {in_flight} in flight, "
    head += f"{arguments.latency_ms:g} ms, {arguments.workers} call worker(s), "
    head += "no intents" if arguments.no_intents else f"intents of {arguments.intents.name}"
    lines = [head, f"{'CPU ms a prompt':<26}{'median':>11} | every run"]
    lines += [row(name, [one.cpu_ms[name] for one in runs]) for name in counted]
    lines.append(row("ALL PROCESSES", [one.total_ms for one in runs]))
    lines.append(row("floor (bare loop)", [one.floor_cpu_ms for one in runs]))
    lines.append(row("all / floor", [one.total_ms / one.floor_cpu_ms for one in runs], "9.2f"))
    lines += [
        row(f"not counted: {name}", [one.cpu_ms.get(name, 0.0) for one in runs])
        for name in NOT_COUNTED
    ]
    every = list(runs[0].cpu_ms)
    lines.append(row("cores busy, all", [one.cores(*every) for one in runs], "9.2f"))
    lines.append(row("of it simulator", [one.cores(*NOT_COUNTED) for one in runs], "9.2f"))
    lines.append(row("prompts/s after submit", [one.rate for one in runs], "9.0f"))
    lines.append(row("prompts/s of the floor", [one.floor_rate for one in runs], "9.0f"))
    lines.append(row("wall s, submit to end", [one.wall for one in runs], "9.2f"))
    lines.append(row("of it submit", [one.submit_wall for one in runs], "9.2f"))
    lines += [row(name, [float(one.counts[name]) for one in runs], "9.0f") for name in COUNTS]
    lines.append(row("load average", [one.load for one in runs], "9.1f"))
    lines.append("audit: " + ("agrees" if all(one.audit_ok for one in runs) else "VIOLATIONS"))
    return "\n".join(lines)
