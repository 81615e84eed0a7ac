import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from batchyard.cli.program import run
from tests.batchyard.cli.scrape import Series, read, targets

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Said:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


@dataclass(frozen=True)
class Program:
    """The program `batchyard` in a folder of its own, without anything of our environment."""

    folder: Path
    env: dict[str, str]

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", "batchyard"]

    def __call__(self, *args: str, stdin: str = "", **env: str) -> Said:
        """The command line in this process: the same code, without an interpreter's start."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as given,
            mock.patch.dict(os.environ, self.env | env, clear=True),
            mock.patch.object(sys, "stdin", given),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            given.write(stdin)
            given.seek(0)
            try:
                code = run(list(args))
            except SystemExit as ended:
                code = int(ended.code or 0)
        told = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return Said(code, *told)

    def process(self, *args: str, **env: str) -> Said:
        """The command line as a process of its own."""
        done = subprocess.run(
            [*self.argv, *args],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)


def program_in(folder: Path) -> Program:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return Program(
        folder,
        {
            **kept,
            "PYTHONPATH": str(ROOT),
            "BATCHYARD_HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
        },
    )


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Where no yard runs."""
    return program_in(tmp_path)


SETTINGS = """
providers:
  lab: {kind: simulator, profile: {seed: 3, latency: {ms: 10}, faults: {p_429: 0.05}}}
  gone: {base_url: "http://127.0.0.1:9/v1", api_key: "env:GONE_API_KEY"}
deployments:
  small:
    provider: lab
    model: my-8b
    limits: {in_flight: 32}
    price: {input_per_mtok: 0.10, output_per_mtok: 0.40}
  absent: {provider: gone, model: no-model}
routes:
  default: {candidates: [small]}
yard: {lease: 10, heartbeat: 2}
"""
KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture(scope="session")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A running yard with a simulated provider, and one that is not there."""
    folder = tmp_path_factory.mktemp("yard")
    (folder / "batchyard.yaml").write_text(SETTINGS)
    program = program_in(folder)
    program = Program(folder, program.env | {"GONE_API_KEY": KEY})
    said = program.process("up", "-d", "--json")
    assert said.code == 0, said.err
    yield program
    program("down")


@pytest.fixture(scope="session")
def scraped(yard: Program) -> dict[str, tuple[str, Series]]:
    """Everything that the yard tells after a job of 300 requests with a 429 in twenty: text and
    samples by process."""
    lines = "".join(json.dumps({"prompt": f"Say {n}"}) + "\n" for n in range(300))
    job = yard("submit", "-", "--json", stdin=lines).json["id"]
    assert yard("watch", job).code == 0
    return {name: read(url) for name, url in targets(yard.folder / "home").items()}
