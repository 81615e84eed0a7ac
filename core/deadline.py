"""A job's deadline: a time, or how long from its submit."""

import re
from datetime import datetime, timedelta
from typing import Final

from core.errors import InputError

Deadline = datetime | timedelta
"""A datetime has its time zone; a timedelta counts from the submit."""

_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_FARTHEST: Final = 3650 * 86_400
_HOW: Final = "Write how long from now, as 90m, 2h or 1d12h, or a time, as 2026-12-01T08:00Z"


def parse_deadline(text: str) -> Deadline:
    """`2h`, `1d12h`, or an ISO time with its zone. Raises InputError."""
    span = _SPAN.fullmatch(text.strip())
    if span and span[0]:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if total > _FARTHEST:
            raise InputError(f"the deadline {text!r} is more than ten years away. {_HOW}")
        return timedelta(seconds=total)
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(f"the deadline {text!r} cannot be read. {_HOW}") from error
    return with_zone(at)


def with_zone(at: datetime) -> datetime:
    """The time as it is. Raises InputError where it does not say its zone: the client's and the
    database's may differ."""
    if at.tzinfo is None:
        raise InputError(f"the deadline {at.isoformat()} has no time zone. {_HOW}")
    return at
