"""How long a provider asks us to wait, in whichever of the usual headers it says so."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT: Final = 900.0
"""Seconds. Asking again is cheap; a deployment that waits for days by one header's mistake is
not. Whoever wants more says so again."""

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")
# Nobody waits for thirty years: from here on a number is a moment, in seconds since 1970.
_EPOCH: Final = 1e9


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, `LONGEST_WAIT` at most, or None where no wait is named.

    `retry-after-ms` (OpenAI) and `x-ms-retry-after-ms` (Azure) come before `retry-after`,
    which holds seconds or a date (RFC 9110 §10.2.3); some gateways send seconds since 1970.
    Values that are not above zero name no wait. `now` is for tests.
    """
    now = now or datetime.now(UTC)
    for name in _MILLISECONDS:
        milliseconds = _number(headers.get(name))
        if milliseconds is not None and (wait := _wait(milliseconds / 1000, now)) is not None:
            return wait
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    return _until(value, now) if seconds is None else _wait(seconds, now)


def capped(seconds: float | None) -> float | None:
    """A wait that was named elsewhere than in a header, `LONGEST_WAIT` at most."""
    return None if seconds is None else min(seconds, LONGEST_WAIT)


def _number(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _wait(seconds: float, now: datetime) -> float | None:
    if seconds >= _EPOCH:
        seconds -= now.timestamp()
    return capped(seconds) if seconds > 0 else None


def _until(value: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return _wait(min((when - now).total_seconds(), LONGEST_WAIT), now)
