"""Secrets by reference: `env:NAME` or `file:/path`. They are read in worker processes only,
and neither a log line nor an error message ever holds one."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.errors import ConfigError
from core.settings import Settings

SECRET_NAME: Final = re.compile(r"(_API_KEY|_SECRET|_SECRET_KEY|_ACCESS_KEY|_TOKEN|_PASSWORD)$")
"""Matches the names of environment variables that hold secrets, referred to or not."""


def key_names(settings: Settings) -> frozenset[str]:
    """The environment variables that the providers' keys refer to."""
    return frozenset(
        reference.removeprefix("env:")
        for provider in settings.providers.values()
        for reference in provider.references
        if reference.startswith("env:")
    )


def resolve_secret(ref: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret that `ref` names; `environ` is the process' own unless given.

    Raises ConfigError with the remedy where the reference leads nowhere, or to a text that
    cannot be sent in a header.
    """
    scheme, _, where = ref.partition(":")
    if scheme == "env":
        secret = (os.environ if environ is None else environ).get(where, "").strip()
        if not secret:
            raise ConfigError(
                f"{ref}: the environment variable {where} is not set. "
                f"Set it where the workers start (export {where}=...) and restart them, for "
                "the environment of a running process never changes"
            )
    elif scheme == "file":
        secret = _read(ref, Path(where).expanduser())
    else:
        # The text may be a key itself, so it is not repeated.
        raise ConfigError(
            "an api_key is not a reference. Put the key in the environment and write "
            "api_key: env:NAME, or in a file and write api_key: file:/path"
        )
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(
            f"{ref}: the secret holds a line break, a blank or another character that a key "
            "cannot have. Copy it again, on one line"
        )
    return secret


def _read(ref: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(
            f"{ref}: cannot be read ({reason}). Name a file that holds the key alone and "
            "that the worker's user may read"
        ) from error
    if not secret:
        raise ConfigError(f"{ref}: the file is empty. Write the key into it")
    return secret
