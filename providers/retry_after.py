"""How long a provider asks us to wait, in whichever of the usual headers it says so."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait, or None where none is named.

    `retry-after-ms` (OpenAI) and `x-ms-retry-after-ms` (Azure) come before `retry-after`,
    which holds seconds or a date (RFC 9110 §10.2.3). Values that are not above zero, as some
    gateways send, name no wait. `now` is for tests.
    """
    for name in _MILLISECONDS:
        wait = _positive(headers.get(name))
        if wait is not None:
            return wait / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    wait = _positive(value)
    return wait if wait is not None else _until(value, now or datetime.now(UTC))


def _positive(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _until(value: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, IndexError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = (when - now).total_seconds()
    return seconds if seconds > 0 else None
