"""What was meant by a number that is written with a unit, a sign or separators."""

import re
from typing import Final

_WRITTEN: Final = re.compile(r"\$?\s*([0-9][0-9,_' ]*(?:\.[0-9]+)?)\s*([A-Za-z%]*)")
_TIMES: Final = {"": 1.0, "k": 1e3, "m": 1e6, "mio": 1e6, "million": 1e6, "%": 0.01}
_SECONDS: Final = {
    "": 1.0,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hours": 3600.0,
}
_TIMED: Final = frozenset({"timeout", "quota_wait", "every", "lease", "heartbeat", "slice"})
"""Settings in seconds."""


def plain_number(setting: str, text: str) -> str | None:
    """The number that a text means for a setting, as it should be written; None where that
    cannot be told."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None
    units = _SECONDS if setting in _TIMED else _TIMES
    unit = found[2].lower()
    if unit not in units:
        return None
    return f"{float(re.sub(r'[^0-9.]', '', found[1])) * units[unit]:.12g}"


def unit_of(setting: str) -> str:
    """What a setting counts, to be said after "a number"."""
    return " of seconds" if setting in _TIMED else ""
