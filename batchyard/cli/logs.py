"""`batchyard logs`."""

import heapq
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Never

import typer
from rich.console import Console
from rich.text import Text

from batchyard.cli.output import put_json
from batchyard.cli.places import relative
from batchyard.cli.show import out
from batchyard.embedded.home import Home
from batchyard.logbook import Line, Reader
from core.errors import InputError, NotFoundError, ServiceError

POLL = 0.25
BEGINNING = datetime.min.replace(tzinfo=UTC)
COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# Said by the service's name, or of no use to a person who reads on.
UNTOLD = ("logger", "worker", "process", "task")


def logs(
    services: Annotated[
        list[str] | None,
        typer.Argument(help="Services, as `ps` lists them; worker stands for all of them."),
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    since: Annotated[
        str, typer.Option(help="A length of time (90s, 10m, 2h, 1d) or a moment (ISO 8601).")
    ] = "",
    lines: Annotated[
        int | None,
        typer.Option("-n", "--lines", min=0, help="The last so many (200, unless --since)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what the yard's services have written down, all together in the order of time: the
    supervisor, the workers, beat, Flower, Postgres, Valkey and the simulator. Bodies and keys
    are never in a log.

    \b
    Examples:
      batchyard logs -f
      batchyard logs worker --since 10m
      batchyard logs worker-call-1 --json | jq 'select(.level == "error")'
    """
    home = Home.from_env()
    wanted = services or []
    begin = _moment(since) if since else BEGINNING
    readers = _readers(home, wanted)
    show = _put if as_json else Shown(out()).show
    found = (line for line in _merged(readers) if (line.at or BEGINNING) >= begin)
    most = lines if lines is not None or since else 200
    for line in deque(found, most):
        show(line)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(home, wanted, readers, show)


def _follow(
    home: Home, wanted: list[str], readers: list[Reader], show: Callable[[Line], None]
) -> Never:
    while True:
        for line in _in_order([list(reader.new()) for reader in readers]):
            show(line)
        sys.stdout.flush()
        time.sleep(POLL)
        known = {reader.service for reader in readers}
        readers += [one for one in _readers(home, wanted) if one.service not in known]


def _readers(home: Home, wanted: list[str]) -> list[Reader]:
    """A reader for each wanted service. Raises NotFoundError, and ServiceError where nothing
    has run yet."""
    found = sorted(home.logs.glob("*.log"))
    if not found:
        raise ServiceError(
            f"no yard has run in {relative(home.path)}, so there are no logs. Start it with "
            "`batchyard up -d`, or set BATCHYARD_HOME to one that has"
        )
    for name in wanted:
        if not any(_is(log, name) for log in found):
            known = ", ".join(log.stem for log in found)
            raise NotFoundError(f"there is no log of {name!r}. There is {known}")
    return [Reader(log) for log in found if not wanted or any(_is(log, n) for n in wanted)]


def _is(log: Path, name: str) -> bool:
    return log.stem == name or log.stem.startswith(f"{name}-")


def _merged(readers: list[Reader]) -> Iterator[Line]:
    return _in_order([chain(reader.old(), reader.new()) for reader in readers])


def _in_order(streams: Iterable[Iterable[Line]]) -> Iterator[Line]:
    return heapq.merge(*streams, key=lambda line: line.at or BEGINNING)


def _moment(text: str) -> datetime:
    """The moment that `--since` means. Raises InputError."""
    if match := re.fullmatch(r"(\d+)\s*([smhd])", text.strip()):
        return datetime.now(UTC) - timedelta(**{UNITS[match[2]]: int(match[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"--since {text!r} is neither a length of time nor a moment. Write e.g. 90s, 10m, 2h, "
            "1d or 2026-07-01T12:00"
        ) from error


def _put(line: Line) -> None:
    at = line.at.isoformat() if line.at else None
    told = {"timestamp": at, "service": line.service, "level": line.level, "event": line.event}
    put_json({**told, **line.facts})


class Shown:
    """Lines for people, in their own time; the date where it changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._day = ""

    def show(self, line: Line) -> None:
        """Prints one."""
        at = line.at.astimezone() if line.at else None
        day = f"{at:%Y-%m-%d}" if at else self._day
        if day != self._day:
            self._day = day
            self._print(Text(day, style="dim"))
        when = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}" if at else " " * 12
        head = Text.assemble((when, "dim"), "  ", (f"{line.service:<15}", "cyan"), "  ")
        text = Text(line.event, style=COLOURS.get(line.level, ""))
        facts = Text("".join(f"  {n}={_short(v)}" for n, v in _told(line)), style="dim")
        trace = line.facts.get("exception") or line.facts.get("stack")
        self._print(head + text + facts)
        if isinstance(trace, str):
            self._print(Text(trace.rstrip(), style="dim"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _told(line: Line) -> list[tuple[str, Any]]:
    hidden = (*UNTOLD, "exception", "stack")
    return [(name, value) for name, value in line.facts.items() if name not in hidden]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
