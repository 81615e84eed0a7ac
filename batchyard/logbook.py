"""The yard's logs as one: the files of all services, line by line, in the order of time.

Our own processes write JSON; Postgres, Valkey and Flower have forms of their own. A line
without a time (a traceback, a banner) belongs to the one before it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from providers.redact import mask

# What its time and level stand in, and how; Postgres and Valkey are started with TZ=UTC.
_POSTGRES = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC \[\d+\] (?P<level>\w+):\s+"
)
_VALKEY = re.compile(r"\d+:\w (?P<at>\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d+) (?P<level>[.*#-]) ")
_TORNADO = re.compile(r"\[(?P<level>[DIWEC]) (?P<at>\d{6} \d\d:\d\d:\d\d) [^\]]*\] ")
_FORMS = (
    (_POSTGRES, "%Y-%m-%d %H:%M:%S.%f", UTC),
    (_VALKEY, "%d %b %Y %H:%M:%S.%f", UTC),
    (_TORNADO, "%y%m%d %H:%M:%S", None),
)
_LEVELS = {
    "D": "debug", "I": "info", "W": "warning", "E": "error", "C": "error",
    ".": "debug", "-": "info", "*": "info", "#": "warning",
    "WARNING": "warning", "ERROR": "error", "FATAL": "error", "PANIC": "error",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `at` is None before a file's first line with a time; `facts` is what a
    structured line says beside its event."""

    service: str
    at: datetime | None
    level: str
    event: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Reader:
    """Reads one service's log from its beginning (the file that was moved aside first), and
    later what has been added."""

    def __init__(self, log: Path) -> None:
        self.service = log.stem
        self._log = log
        self._position = 0
        self._inode = 0
        self._half = b""
        self._before = Line(self.service, None, "info", "")

    def old(self) -> Iterator[Line]:
        """The lines of the file that was moved aside when the log had grown too large."""
        aside = self._log.with_name(self._log.name + ".1")
        if aside.exists():
            with aside.open("rb") as file:
                yield from map(self._parse, file)

    def new(self) -> Iterator[Line]:
        """The whole lines that nobody has read yet."""
        try:
            file = self._log.open("rb")
        except FileNotFoundError:
            return
        with file:
            found = self._log.stat()
            if found.st_ino != self._inode or found.st_size < self._position:
                self._inode, self._position, self._half = found.st_ino, 0, b""
            file.seek(self._position)
            for text in file:
                self._position += len(text)
                text, self._half = self._half + text, b""
                if text.endswith(b"\n"):
                    yield self._parse(text)
                else:
                    self._half = text

    def _parse(self, text: bytes) -> Line:
        self._before = parse(self.service, text.decode(errors="replace").rstrip(), self._before)
        return self._before


def parse(service: str, text: str, before: Line) -> Line:
    """One line of a service's log, after the line `before`."""
    if text.startswith("{"):
        found = _structured(service, text)
        if found is not None:
            return found
    for form, times, zone in _FORMS:
        if match := form.match(text):
            at = datetime.strptime(match["at"], times).replace(tzinfo=zone).astimezone(UTC)
            level = _LEVELS.get(match["level"], "info")
            return Line(service, at, level, mask(text[match.end() :]))
    return Line(service, before.at, before.level, mask(text))


def _structured(service: str, text: str) -> Line | None:
    try:
        facts = msgspec.json.decode(text, type=dict[str, Any])
        at = datetime.fromisoformat(facts.pop("timestamp"))
        return Line(service, at, facts.pop("level"), facts.pop("event"), facts)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
