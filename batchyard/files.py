"""Files of ours in the state folder."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from batchyard.embedded.home import Home


def settings_file(home: Home) -> Path:
    """The configuration that the yard of this home was started with, as its workers read it."""
    return home.run / "settings.json"


def put_base_urls(home: Home, base_urls: Mapping[str, str]) -> None:
    """Keeps where the providers that the yard runs itself listen."""
    _base_urls_file(home).write_bytes(msgspec.json.encode(dict(base_urls)))


def base_urls(home: Home) -> dict[str, str]:
    """Base URLs of the providers that this home's yard runs itself; empty if it never ran."""
    path = _base_urls_file(home)
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}


def put_environment(home: Home, variables: Mapping[str, str]) -> None:
    """Keeps what the yard's processes have in their environment, passwords included."""
    write_private(_environment_file(home), msgspec.json.encode(dict(variables)).decode())


def environment(home: Home) -> dict[str, str]:
    """What the processes of this home's yard have in their environment; holds passwords."""
    return msgspec.json.decode(_environment_file(home).read_bytes(), type=dict[str, str])


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads, even where it was another's to read before."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def _environment_file(home: Home) -> Path:
    return home.run / "environment.json"


def _base_urls_file(home: Home) -> Path:
    return home.run / "base_urls.json"
