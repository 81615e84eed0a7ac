"""What a provider says of its limits with every answer: `x-ratelimit-*` headers.

    x-ratelimit-limit-requests      what may be used in a window
    x-ratelimit-remaining-requests  what of it is left
    x-ratelimit-reset-requests      how long until all of it is there again: 12ms, 1.5s, 6m0s

and the same for `tokens` (https://platform.openai.com/docs/guides/rate-limits). Most
OpenAI-compatible providers send these names, some with a day for a window.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

LONGEST_WINDOW: Final = 61.0
"""Seconds. What needs longer to be there again is not a minute's limit."""

_DURATION: Final = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,40})?)s)?(?:(\d{1,12})ms)?", re.ASCII
)
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_SECONDS: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,40})?")


class Told(msgspec.Struct, frozen=True, gc=False):
    """A minute's limits and what is left of them; None where nothing is said, or where the
    window is none of a minute."""

    requests: int | None = None
    requests_left: int | None = None
    tokens: int | None = None
    tokens_left: int | None = None


def read_limits(headers: Mapping[str, str]) -> Told:
    """What the headers (lower case) say; what cannot be read is not said."""
    requests, requests_left = _read(headers, "requests")
    tokens, tokens_left = _read(headers, "tokens")
    return Told(requests, requests_left, tokens, tokens_left)


def _read(headers: Mapping[str, str], what: str) -> tuple[int | None, int | None]:
    limit = _count(headers.get(f"x-ratelimit-limit-{what}"))
    left = _count(headers.get(f"x-ratelimit-remaining-{what}"))
    reset = seconds(headers.get(f"x-ratelimit-reset-{what}"))
    if reset is not None and reset > LONGEST_WINDOW:
        return None, None
    return limit or None, left


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def seconds(text: str | None) -> float | None:
    """A duration as OpenAI writes it, or a bare number of seconds; None for anything else."""
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    hours, minutes, rest, milliseconds = found.groups()
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0)
    return whole + float(rest or 0) + int(milliseconds or 0) / 1000
