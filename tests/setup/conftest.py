"""A machine with only Python, make, gcc and git: what the set-up may count on."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

HOUSE = Path(__file__).parents[2]

# The toolchain, and what POSIX gives every machine.
TOOLS = (
    "make gcc git sh awk cat chmod cp cut date dirname env find grep head id ls mkdir mktemp mv "
    "printf pwd rm sed sleep sort tail tar test touch tr true uname wc"
).split()
# How a machine reaches its package index is its own affair.
INDEX = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "SSL_CERT", "REQUESTS_CA", "HTTP_", "HTTPS_")
NOBODY = 65534


@dataclass(frozen=True)
class Machine:
    """Runs commands in an emptied environment, as root or as an ordinary user."""

    path: Path
    user: int | None

    def start(self, folder: Path, *argv: str, **extra: str) -> subprocess.Popen[str]:
        index = {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
        return subprocess.Popen(
            argv,
            cwd=folder,
            env={"PATH": str(self.path), **index, **extra},
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, folder: Path, *argv: str, code: int = 0, **extra: str) -> str:
        process = self.start(folder, *argv, **extra)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == code, said
        return said

    def checkout(self, *folders: str) -> Path:
        """A copy of what is, or would be, in the repository."""
        place = self.path.parent.joinpath(*folders)
        place.mkdir(parents=True)
        listed = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=HOUSE, capture_output=True, check=True, text=True)
        for name in filter(None, names.stdout.split("\0")):
            if (HOUSE / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(HOUSE / name, place / name)
        if self.user is not None:
            for one in (*place.rglob("*"), *place.parents, place):
                if one.is_relative_to(self.path.parent):
                    os.chown(one, self.user, self.user)
        return place


def _succeeds(argv: list[str], user: int | None) -> bool:
    return subprocess.run(argv, user=user, cwd="/", check=False).returncode == 0


def _interpreter(user: int | None) -> str:
    """A Python that this user may run, which one in root's home is not."""
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for python in (base, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        fits = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
        try:
            if python and _succeeds([python, "-c", fits], user):
                return python
        except PermissionError:
            continue
    pytest.skip(f"no Python 3.11 or newer that {user or 'this user'} may run")


def _machine(user: int | None) -> Iterator[Machine]:
    if not (os.environ.get("CI") or os.environ.get("BATCHYARD_TEST_SETUP")):
        pytest.skip("installs everything anew; runs in CI or with BATCHYARD_TEST_SETUP=1")
    if not (HOUSE / ".git").exists():
        pytest.skip("not a git checkout: what a clone would hold cannot be told")
    python = _interpreter(user)
    # Not pytest's own folder, which only its user may enter.
    folder = Path(mkdtemp(prefix="batchyard-setup-"))
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, f"{tool} is not on PATH"
        (path / tool).symlink_to(found)
    (path / "python3").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (path / "python3").chmod(0o755)
    if user is not None:
        os.chown(folder, user, user)
    yield Machine(path, user)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A package cache for those set-ups that need not show that they do without."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    """As whoever runs the tests."""
    yield from _machine(None)


@pytest.fixture(params=["this user", "an ordinary user"])
def anyones_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """As whoever runs the tests; where that is root, also as a user who may nothing."""
    other = request.param == "an ordinary user"
    if other and os.geteuid() != 0:
        pytest.skip(f"{pwd.getpwuid(os.geteuid()).pw_name} is an ordinary user already")
    yield from _machine(NOBODY if other else None)
