"""What a provider says of its limits with every answer: `x-ratelimit-*` headers.

    x-ratelimit-limit-requests      what may be used in a window
    x-ratelimit-remaining-requests  what of it is left
    x-ratelimit-reset-requests      how long until all of it is there again: 12ms, 1.5s, 6m0s

and the same for `tokens` (https://platform.openai.com/docs/guides/rate-limits). Others end the
names otherwise (`_ENDINGS`), or tell a day's limit under the same name.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

LONGEST_WINDOW: Final = 61.0
"""Seconds. What needs longer to be there again is not a minute's limit."""

# Mistral and Cerebras name the minute, which Groq and OpenAI leave out; Fireworks counts what is
# read and what is written apart.
_ENDINGS: Final = {
    "requests": ("requests", "req-minute", "requests-minute"),
    "tokens": ("tokens", "tokens-minute"),
    "input": ("input-tokens", "tokens-prompt"),
    "output": ("output-tokens", "tokens-generated"),
}
_DURATION: Final = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,40})?)s)?"
    r"(?:(\d{1,12}(?:\.\d{1,40})?)ms)?(?:(\d{1,12}(?:\.\d{1,40})?)[µu]s)?",
    re.ASCII,
)
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 1e-3, 1e-6)
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_SECONDS: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,40})?")
# From here on a number is a moment: seconds, or milliseconds, since 1970.
_EPOCH: Final = 1e9
_EPOCH_MS: Final = 1e12


class Told(msgspec.Struct, frozen=True, gc=False):
    """A minute's limits and what is left of them; None where nothing is said, or where the
    window is none of a minute."""

    requests: int | None = None
    requests_left: int | None = None
    tokens: int | None = None
    tokens_left: int | None = None
    input: int | None = None
    input_left: int | None = None
    output: int | None = None
    output_left: int | None = None

    @property
    def limits(self) -> tuple[int | None, ...]:
        """Requests, tokens, input, output."""
        return self.requests, self.tokens, self.input, self.output

    @property
    def left(self) -> tuple[int | None, ...]:
        """In the same order."""
        return self.requests_left, self.tokens_left, self.input_left, self.output_left


class _Said(NamedTuple):
    limit: int | None = None
    left: int | None = None


_NOTHING: Final = _Said()


def read_limits(headers: Mapping[str, str]) -> Told:
    """What the headers (lower case) say; what cannot be read is not said."""
    return Told(*(value for endings in _ENDINGS.values() for value in _first(headers, endings)))


def _first(headers: Mapping[str, str], endings: tuple[str, ...]) -> _Said:
    for ending in endings:
        said = _read(headers, ending)
        if said is not _NOTHING:
            return said
    return _NOTHING


def _read(headers: Mapping[str, str], ending: str) -> _Said:
    named = headers.get(f"x-ratelimit-limit-{ending}")
    limit, left = _count(named), _count(headers.get(f"x-ratelimit-remaining-{ending}"))
    if named is not None and not limit:
        # Azure's 0 and -1: it has no such limit, and what is left of it means nothing.
        return _NOTHING
    if limit is None and left is None:
        return _NOTHING
    reset = headers.get(f"x-ratelimit-reset-{ending}")
    of_a_minute = ending.endswith("-minute") or _of_a_minute(limit, left, reset)
    return _Said(limit, left) if of_a_minute else _NOTHING


def _of_a_minute(limit: int | None, left: int | None, reset: str | None) -> bool:
    """Whether the window may be a minute. A reset is when all is there again, so a day's limit of
    which little was used has a short one too (Groq's requests): what was used in that time says
    how long the whole takes."""
    wait = seconds(reset)
    if wait is None or reset is None:
        return True
    longest = wait
    if limit is not None and left is not None and left < limit:
        exact = 1e-3 if "." in reset or "ms" in reset else 1.0
        longest = max(wait, (wait - exact) * limit / (limit - left))
    return longest <= LONGEST_WINDOW


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def seconds(text: str | None, now: datetime | None = None) -> float | None:
    """A duration as OpenAI and Go write it, a bare number of seconds, or the time until a moment
    (since 1970, or ISO 8601), never below zero; None for anything else. `now` is for tests."""
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return _until_epoch(float(text), now)
    found = _DURATION.fullmatch(text)
    if found is not None:
        parts = zip(found.groups(), _UNITS, strict=True)
        return sum(float(part) * unit for part, unit in parts if part is not None)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _until(when if when.tzinfo else when.replace(tzinfo=UTC), now)


def _until_epoch(number: float, now: datetime | None) -> float:
    if number < _EPOCH:
        return number
    since = number / 1000 if number >= _EPOCH_MS else number
    return max(0.0, since - (now or datetime.now(UTC)).timestamp())


def _until(when: datetime, now: datetime | None) -> float:
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
