"""Anchors the key files that a configuration names at its own folder: workers run elsewhere."""

from pathlib import Path
from typing import Any, Final

_FILE: Final = "file:"


def anchor_keys(data: dict[str, Any], folder: Path) -> None:
    """Makes each `file:` reference of `providers.*.api_key` and `providers.*.keys` that is a
    relative path an absolute one, from `folder`."""
    providers = data.get("providers")
    for provider in providers.values() if isinstance(providers, dict) else ():
        if not isinstance(provider, dict):
            continue
        if "api_key" in provider:
            provider["api_key"] = _anchored(provider["api_key"], folder)
        if isinstance(keys := provider.get("keys"), list):
            provider["keys"] = [_anchored(key, folder) for key in keys]


def _anchored(reference: Any, folder: Path) -> Any:
    if isinstance(reference, dict) and "key" in reference:
        return {**reference, "key": _anchored(reference["key"], folder)}
    if not isinstance(reference, str) or not reference.startswith(_FILE):
        return reference
    path = reference.removeprefix(_FILE)
    if not path or path.startswith("~"):
        return reference
    return f"{_FILE}{folder.absolute() / path}"
