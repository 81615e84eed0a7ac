"""Provider keys, resolved by reference when first needed and kept in this process only.

A key in a file is looked at again now and then, so that a worker picks up a replaced one
without a restart; the environment of a process never changes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import ConfigError
from providers.secrets import resolve_secret

REREAD = 2.0


@dataclass(slots=True)
class _Key:
    secret: str
    read_at: float


class Keyring:
    """Gives the key that a reference leads to; never prints one. `clock` is for tests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}

    def get(self, reference: str) -> str:
        """The key. Raises ConfigError with the remedy when the reference leads nowhere."""
        known = self._keys.get(reference)
        if known is None:
            known = self._keys[reference] = _Key(resolve_secret(reference), self._clock())
        elif reference.startswith("file:") and self._clock() - known.read_at >= REREAD:
            known.read_at = self._clock()
            try:
                known.secret = resolve_secret(reference)
            except ConfigError:
                # In the middle of being replaced, or taken away: the provider will tell.
                return known.secret
        return known.secret

    def __repr__(self) -> str:
        return f"Keyring({sorted(self._keys)})"
