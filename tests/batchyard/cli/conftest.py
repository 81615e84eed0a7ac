import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
        done = subprocess.run(
            [*self.argv, *args],
            cwd=self.folder,
            env=self.env | env,
            input=stdin,
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


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")
