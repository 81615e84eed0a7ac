"""How long a provider asks us to wait, in whichever of the usual headers it says so."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT: Final = 31 * 86_400.0
"""Seconds: no quota is longer than a month. A wait beyond it is a mistake of whoever sent it
(years, or milliseconds taken for seconds), and counts as no wait at all."""

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")
# Nobody waits for thirty years: from here on a number is a moment, in seconds since 1970.
_EPOCH: Final = 1e9


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, or None where no wait is named that can be believed.

    `retry-after-ms` (OpenAI) and `x-ms-retry-after-ms` (Azure) come before `retry-after`,
    which holds seconds or a date (RFC 9110 §10.2.3); some gateways send seconds since 1970.
    Values that are not above zero, or above `LONGEST_WAIT`, name no wait. `now` is for tests.
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


def believed(seconds: float | None) -> float | None:
    """A wait that was named somewhere; None where it cannot be meant."""
    return seconds if seconds is not None and 0 < seconds <= LONGEST_WAIT else None


def _number(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _wait(seconds: float, now: datetime) -> float | None:
    if seconds >= _EPOCH:
        seconds -= now.timestamp()
    return believed(seconds)


def _until(value: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return believed((when - now).total_seconds())
