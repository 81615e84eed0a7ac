"""Words and tables for people; colour only on a terminal, and never with NO_COLOR."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where there is no terminal to fit into, nothing should be cut.
WIDE = 200


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    # What providers say and what jobs are called may hold brackets, which are no markup here.
    return Console(stderr=stderr, highlight=False, markup=False, width=width)


def out() -> Console:
    """For what was asked for."""
    return _console(stderr=False)


def notes() -> Console:
    """For what people should know beside it."""
    return _console(stderr=True)


def plain(number: float) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,.0f}"


def count(number: int, what: str) -> str:
    """1 request, 2,742 requests."""
    return f"{plain(number)} {what}{'' if number == 1 else 's'}"


def warn_of(text: str) -> None:
    """One line on stderr about something that will be in the way later."""
    notes().print(f"warning: {text}", style="yellow", soft_wrap=True)


def ago(seconds: float) -> str:
    """A length of time in the largest fitting units: 2.9 s, 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def table(headings: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> Table:
    """A quiet table; a heading that starts with ">" is of a column of numbers. Cells are shown
    as they are: names and what providers say may hold brackets."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for heading in headings:
        number = heading.startswith(">")
        made.add_column(heading.removeprefix(">"), justify="right" if number else "left")
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made
