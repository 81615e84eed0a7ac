"""Where a job's lines come from: a file, standard input, or a Python iterable.

Lines are read one at a time, and a line that is too long is never held whole. What is gzipped
is unpacked on the way; a file whose name ends in .csv is a table (`tasks/intake/tables.py`).
"""

import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import IO, Any

import msgspec

from core.errors import InputError, LineProblem
from tasks.intake.tables import table_items

Item = Mapping[str, Any] | str | bytes
Source = str | os.PathLike[str] | Iterable[Item]
Numbered = tuple[int, bytes | LineProblem]

MAX_LINE = 16 * 2**20
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
SAMPLE = 2**20


def read_lines(source: Source, max_line: int = MAX_LINE) -> Iterator[Numbered]:
    """The lines with their 1-based numbers, blank ones left out.

    A `str` or a path names a file ("-" is standard input); an iterable yields dicts, or plain
    strings, which are prompts, or bytes, which are JSON. Raises InputError for a file that
    cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        yield from _items(enumerate(source, start=1), max_line)
        return
    with open_source(source) as file:
        lines = unpacked(file)
        try:
            if _is_table(source):
                yield from _items(table_items(lines, max_line), max_line)
            else:
                yield from _file_lines(lines, max_line)
        except (BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(
                f"{source_name(source)} cannot be unpacked: {error}. Compress it again"
            ) from error


def _is_table(source: str | os.PathLike[str]) -> bool:
    return Path(source).name.lower().removesuffix(".gz").endswith(".csv")


def unpacked(file: io.BufferedReader) -> IO[bytes]:
    """What the file holds, where it is gzipped; else the file."""
    if file.peek(2).startswith(GZIP):
        return io.BufferedReader(GzipFile(fileobj=file, mode="rb"), SAMPLE)
    return file


def open_source(source: str | os.PathLike[str]) -> io.BufferedReader:
    """The file, or standard input for "-", as it is."""
    if source == "-":
        return _standard_input()
    try:
        return Path(source).open("rb")
    except FileNotFoundError as error:
        raise InputError(f"There is no file {os.fspath(source)!r}. Check the path") from error
    except OSError as error:
        raise InputError(
            f"{os.fspath(source)!r} cannot be read: {error.strerror}. "
            "Give a readable JSONL file, or - for standard input"
        ) from error


def _standard_input() -> io.BufferedReader:
    try:
        # A copy of the descriptor, so that closing it leaves the caller's standard input open.
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    except (AttributeError, OSError) as error:
        raise InputError("There is no standard input here. Give the path of a file") from error


def is_file(source: Source) -> bool:
    """Whether this names a file or standard input, and is not the items themselves."""
    return isinstance(source, str | os.PathLike)


def source_name(source: Source) -> str:
    """What a job's status calls its input."""
    if isinstance(source, str | os.PathLike):
        return "standard input" if source == "-" else Path(source).name
    return "python"


def estimate_lines(source: Source) -> int | None:
    """About how many lines there are, from the size of the file and of its first lines, or
    the length of a sequence; None where that cannot be known."""
    if not isinstance(source, str | os.PathLike):
        return len(source) if isinstance(source, Sized) else None
    if source == "-" or not Path(source).is_file():
        return None
    with open_source(source) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            head = unpacked(file).read(SAMPLE)
        except (BadGzipFile, EOFError, zlib.error):
            return None
        # Of a packed file more has been read than was asked for, in steps of a buffer.
        read = min(size, file.tell() or size)
    lines = max(1, head.count(b"\n"))
    return lines if len(head) < SAMPLE else size * lines // read


def _file_lines(file: IO[bytes], max_line: int) -> Iterator[Numbered]:
    number = 0
    readline = file.readline
    while line := readline(max_line + 2):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM)
        if len(line) > max_line and not line.endswith(b"\n"):
            _skip_rest(file)
            yield number, _too_long(number, max_line)
        elif not line.isspace() and line:
            yield number, line


def _skip_rest(file: IO[bytes]) -> None:
    while (piece := file.readline(SAMPLE)) and not piece.endswith(b"\n"):
        pass


def _items(items: Iterable[tuple[int, Item | LineProblem]], max_line: int) -> Iterator[Numbered]:
    for number, item in items:
        line = _encoded(number, item)
        if isinstance(line, bytes) and len(line) > max_line:
            yield number, _too_long(number, max_line)
        elif isinstance(line, LineProblem) or (line and not line.isspace()):
            yield number, line


def _encoded(number: int, item: Item | LineProblem) -> bytes | LineProblem:
    if isinstance(item, bytes | LineProblem):
        return item
    try:
        return msgspec.json.encode({"prompt": item} if isinstance(item, str) else item)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return LineProblem(
            number,
            "",
            f"this item cannot be written as JSON ({error})",
            "Give a dict of plain values, or a string",
            "invalid_json_line",
        )


def _too_long(number: int, max_line: int) -> LineProblem:
    return LineProblem(
        number,
        "",
        f"longer than {max_line:,} bytes",
        "Shorten the request, or refer to large content by its URL",
        "line_too_long",
    )
