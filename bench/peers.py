"""CPU per prompt beside the peers: the same prompts, the same provider, one run.

Each peer's script (`bench/peer/`) runs as a process of its own in an environment of its own; its
CPU, children included, is what wait4 says. It is run on a few prompts first, so that its start
(imports, tokenisers) can be told from what each further prompt costs. Ours is all processes of a
yard, as `prompt-cpu` counts them.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.prompt_cpu import configuration, one_job, write_input
from bench.yards import BenchYard, fresh_yard

HELP = "CPU per prompt beside LiteLLM Router, AsyncOpenAI, Curator and a bare aiohttp loop"
SCRIPTS = Path(__file__).parent / "peer"
PEERS = ("bare_aiohttp", "async_openai", "curator_llm", "litellm_router")
FEW = 100
LONGEST = 900.0


@dataclass(frozen=True, slots=True)
class Ran:
    """CPU seconds and wall seconds of one process, and the answers it kept."""

    cpu: float
    wall: float
    answers: int


@dataclass(frozen=True, slots=True)
class Figure:
    """CPU milliseconds a prompt, the start included and apart; prompts a second; answers."""

    name: str
    with_start: float
    marginal: float
    rate: float
    answers: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--requests", type=int, default=2_000)
    parser.add_argument("--ours", type=int, default=20_000, help="requests of our own second job")
    parser.add_argument("--runs", type=int, default=2, help="rounds, the peers in turn")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--venv", type=Path, default=Path(".venv-peers"), help="the peers' environment, made once"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    python = _environment(arguments.venv)
    config = configuration(arguments.in_flight, arguments.latency_ms)
    with fresh_yard(config, workers=1, flower=True) as yard:
        few, many, more = (
            _lines(yard, count) for count in (FEW, arguments.requests, arguments.ours)
        )
        asyncio.run(one_job(yard, few, FEW))
        rounds = [
            [
                *(_ours(yard, path, n) for path, n in ((many, arguments.requests),
                                                       (more, arguments.ours))),
                *(_peer(yard, python, name, (few, many), arguments) for name in arguments.peers),
            ]
            for _ in range(arguments.runs)
        ]  # fmt: skip
    figures = [_median(one) for one in zip(*rounds, strict=True)]
    if arguments.json:
        print(json.dumps([asdict(one) for one in figures], indent=2))
    else:
        print(_as_table(figures, arguments))
    return 0


def _environment(venv: Path) -> Path:
    """The interpreter that has the peers."""
    python = venv / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", str(venv)], check=True)
        wanted = str(SCRIPTS / "requirements.txt")
        install = [*uv, "pip", "install", "-q", "--python", str(python), "-r", wanted]
        subprocess.run(install, check=True)
    return python


def _lines(yard: BenchYard, count: int) -> Path:
    path = yard.folder / f"input-{count}.jsonl"
    write_input(path, count)
    return path


def _ours(yard: BenchYard, lines: Path, count: int) -> Figure:
    job = asyncio.run(one_job(yard, lines, count))
    cpu = sum(ms for name, ms in job["cpu_ms"].items() if name != "simulator")
    return Figure(f"batchyard, {count:,} prompts", cpu, cpu, count / job["wall"], count)


def _peer(
    yard: BenchYard, python: Path, name: str, inputs: tuple[Path, Path], args: argparse.Namespace
) -> Figure:
    start, whole = (_once(yard, python, name, lines, args.in_flight) for lines in inputs)
    n = args.requests
    marginal = (whole.cpu - start.cpu) / (n - FEW)
    return Figure(name, whole.cpu * 1000 / n, marginal * 1000, n / whole.wall, whole.answers)


def _once(yard: BenchYard, python: Path, name: str, lines: Path, at_once: int) -> Ran:
    output = yard.folder / f"{name}.jsonl"
    output.unlink(missing_ok=True)
    url = yard.deployments["small"].base_url
    argv = [str(python), str(SCRIPTS / f"{name}.py"), url, str(lines), str(output), str(at_once)]
    began = time.perf_counter()
    with (yard.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not output.exists():
        told = (yard.folder / f"{name}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{name} failed with exit code {process.returncode}:\n{told}")
    with output.open("rb") as file:
        answers = sum(1 for _ in file)
    return Ran(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, answers)


def _median(same: tuple[Figure, ...]) -> Figure:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    return Figure(
        same[0].name,
        middle([one.with_start for one in same]),
        middle([one.marginal for one in same]),
        middle([one.rate for one in same]),
        min(one.answers for one in same),
    )


def _as_table(figures: list[Figure], arguments: argparse.Namespace) -> str:
    head = f"{arguments.requests:,} prompts of 1 KB, {arguments.latency_ms:g} ms, "
    head += f"{arguments.in_flight} at once; medians of {arguments.runs} rounds"
    equal, long_run = figures[0], figures[1]
    columns = f"{'CPU ms':>9}{'÷ ours':>8}{'marginal':>10}{'÷ ours':>8}{'per s':>8}{'answers':>9}"
    lines = [head, " " * 28 + columns]
    lines += [
        f"{one.name:<28}{one.with_start:>9.3f}{one.with_start / equal.with_start:>8.1f}"
        f"{one.marginal:>10.3f}{one.marginal / long_run.marginal:>8.1f}"
        f"{one.rate:>8.0f}{one.answers:>9,}"
        for one in figures
    ]
    lines.append(f"load average {os.getloadavg()[0]:.1f}; ours counts every process of the yard")
    return "\n".join(lines)
