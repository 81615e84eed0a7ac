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


def _base_urls_file(home: Home) -> Path:
    return home.run / "base_urls.json"
