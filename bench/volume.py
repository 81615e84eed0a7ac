"""Volume: how fast a large file goes in, and how fast its results come out.

On an embedded Postgres and Valkey as `batchyard up` starts them (fsync on), without workers:
`batchyard submit FILE` and `batchyard results JOB -o FILE` run as processes of their own, each
with its wall time, CPU (its own, and Postgres' beside it) and peak resident memory, interpreter
included. The results to export are filled in by SQL: one attempt and one answer of about 600
bytes a request. Beside both stand their floors of the same minute: the same lines by a plain
COPY into a table of one text column without an index, and the same output lines by a plain COPY
out of such a table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from batchyard.embedded.detached import cpu_seconds
from batchyard.embedded.testing import RunningServices, start_services
from db.migrate import migrate

HELP = "rows/s and memory of submit and results for a large job"
TEXT = "Sort this message into one of the labels: billing, delivery, account, other. " * 11
CONFIG = {
    "providers": {"lab": {"base_url": "http://127.0.0.1:9/v1"}},
    "deployments": {
        "small": {
            "provider": "lab",
            "model": "my-8b",
            "price": {"input_per_mtok": 1, "output_per_mtok": 2},
        }
    },
    "routes": {"default": {"candidates": ["small"]}},
}
BLOCK = 256 * 2**10
# Bytes that no JSON line has, so that COPY takes each line for one value.
PLAIN = "with (format csv, delimiter e'\\x02', quote e'\\x01')"

FILL = (
    """
insert into attempts (part, job_id, seq, n, round, deployment, status, http_status, input_tokens,
  cached_tokens, output_tokens, reasoning_tokens, cost_nusd, bound_nusd, latency_ms, commit_id)
select part, job_id, seq, 1, 1, 'small', 'ok', 200, 210, 0, 12, 0, 234000, 500000, 400 + seq % 100,
  1 from requests
""",
    """
insert into results (part, job_id, seq, round, status, deployment, n, http_status, request_id, body,
  commit_id)
select part, job_id, seq, 1, 'completed', 'small', 1, 200, 'req_' || md5(seq::text),
  '{"id":"chatcmpl-' || md5(seq::text) || '","object":"chat.completion","created":1760000000,'
  '"model":"my-8b-2025","choices":[{"index":0,"message":{"role":"assistant","content":"' ||
  repeat(md5(seq::text) || ' ', 8) || '","refusal":null},"logprobs":null,'
  '"finish_reason":"stop"}],"usage":{"prompt_tokens":210,"completion_tokens":12,'
  '"total_tokens":222},"system_fingerprint":"fp_1"}', 1 from requests
""",
    "update jobs set status = 'completed', ended_at = now()",
    "vacuum analyze requests, attempts, results",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One process' way over all rows: seconds, and MiB of resident memory at its peak."""

    name: str
    rows: int
    wall: float
    cpu: float
    postgres_cpu: float
    rss: float

    @property
    def rate(self) -> float:
        return self.rows / self.wall


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--requests", type=int, default=200_000)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    rows = arguments.requests
    with tempfile.TemporaryDirectory(prefix="batchyard-bench-") as name:
        folder = Path(name)
        lines = folder / "input.jsonl"
        _write_input(lines, rows)
        (folder / "batchyard.yaml").write_text(json.dumps(CONFIG), encoding="utf-8")
        with start_services(folder / "home", fsync=True) as services:
            migrate(services.database_url)
            bench = _Bench(services, folder, rows)
            steps = [bench.plain_in(lines), bench.submit(lines)]
            bench.fill()
            steps += [bench.results("jsonl"), bench.results("csv")]
            steps.insert(2, bench.plain_out(folder / "out.jsonl"))
    load = os.getloadavg()[0]
    if arguments.json:
        told = [{**asdict(step), "rate": step.rate} for step in steps]
        print(json.dumps({"load": load, "steps": told}, indent=2))
    else:
        print(_as_table(steps, rows, load))
    return 0


def _write_input(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            body = {
                "model": "default",
                "messages": [
                    {"role": "system", "content": "You label messages. Answer with one word."},
                    {"role": "user", "content": f"{TEXT}[#{number}]"},
                ],
                "max_tokens": 16,
            }
            line = {"custom_id": f"row-{number:08}", "method": "POST"}
            file.write(json.dumps({**line, "url": "/v1/chat/completions", "body": body}) + "\n")


class _Bench:
    """The services, and the steps on them."""

    def __init__(self, services: RunningServices, folder: Path, rows: int) -> None:
        self._services = services
        self._folder = folder
        self._rows = rows
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("BATCHYARD_")}
        self._environ |= {
            "BATCHYARD_HOME": str(services.home.path),
            "BATCHYARD_CONFIG": str(folder / "batchyard.yaml"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def submit(self, lines: Path) -> Step:
        return self._cli("batchyard submit", "submit", str(lines))

    def results(self, kind: str) -> Step:
        out = self._folder / f"out.{kind}"
        step = self._cli(f"batchyard results, {kind}", "results", "1", "--format", kind, "-o", out)
        with out.open("rb") as file:
            count = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
        if count != self._rows + (kind == "csv"):
            raise SystemExit(f"{count} lines came out")
        return step

    def plain_in(self, lines: Path) -> Step:
        step = self._here("floor: plain COPY in", lambda: self._copy_plain(lines))
        self._execute("drop table plain")
        return step

    def plain_out(self, lines: Path) -> Step:
        self._copy_plain(lines)
        return self._here("floor: plain COPY out", self._read_plain)

    def _copy_plain(self, lines: Path) -> None:
        self._execute("create table plain (line text)")
        statement = f"copy plain (line) from stdin {PLAIN}".encode()
        with (
            self._connect() as conn,
            conn.cursor() as cursor,
            cursor.copy(statement) as copy,
            lines.open("rb") as file,
        ):
            while block := file.read(BLOCK):
                copy.write(block)

    def _read_plain(self) -> None:
        with (
            self._connect() as conn,
            conn.cursor() as cursor,
            cursor.copy(b"copy plain to stdout (format binary)") as copy,
            (self._folder / "plain.out").open("wb") as file,
        ):
            for row in copy:
                file.write(row)

    def fill(self) -> None:
        for statement in FILL:
            self._execute(statement)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._services.database_url)

    def _execute(self, statement: str) -> None:
        with self._connect() as conn:
            conn.autocommit = True
            conn.execute(statement.encode())

    def _here(self, name: str, work: Callable[[], None]) -> Step:
        before, cpu, began = self._postgres(), time.process_time(), time.perf_counter()
        work()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return Step(name, self._rows, wall, cpu, self._postgres() - before, 0.0)

    def _cli(self, name: str, *words: str | Path) -> Step:
        before, began = self._postgres(), time.perf_counter()
        argv = [sys.executable, "-m", "batchyard", *map(str, words)]
        process = subprocess.Popen(
            argv,
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = _Peak(process.pid)
        peak.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak.join()
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}")
        cpu = usage.ru_utime + usage.ru_stime
        return Step(name, self._rows, wall, cpu, self._postgres() - before, peak.mib)

    def _postgres(self) -> float:
        # A backend's time is its parent's once it has been buried.
        time.sleep(0.5)
        return cpu_seconds(self._services.home)["postgres"]


class _Peak(threading.Thread):
    """Reads a process' high-water mark until it is gone: `ru_maxrss` of a child also knows the
    memory of the parent that it was forked from."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._path = Path(f"/proc/{pid}/status")
        self._own = os.getpid()
        self.mib = 0.0

    def run(self) -> None:
        while True:
            try:
                text = self._path.read_text()
            except (FileNotFoundError, ProcessLookupError):
                return
            found = [line for line in text.splitlines() if line.startswith("VmHWM")]
            if not found:
                return
            self.mib = int(found[0].split()[1]) / 1024
            time.sleep(0.01)


def _as_table(steps: list[Step], rows: int, load: float) -> str:
    head = f"{'':<26}{'rows/s':>10}{'wall s':>9}{'CPU s':>8}{'Postgres':>10}{'µs/row':>8}"
    lines = [
        f"{rows:,} requests of about 1 KB; load average {load:.1f}",
        f"{head}{'RSS MiB':>9}",
    ]
    for step in steps:
        each = (step.cpu + step.postgres_cpu) * 1e6 / rows
        lines.append(
            f"{step.name:<26}{step.rate:>10,.0f}{step.wall:>9.2f}{step.cpu:>8.2f}"
            f"{step.postgres_cpu:>10.2f}{each:>8.1f}"
            + (f"{step.rss:>9.1f}" if step.rss else f"{'':>9}")
        )
    return "\n".join(lines)
