"""Files of scores: a JSON object a line, CSV, or Parquet."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.errors import InputError, LineProblem
from core.lazy import lazy
from tasks.intake.sources import open_source, read_lines, unpacked
from tasks.scores import Given

if TYPE_CHECKING:
    from batchyard.judged import tables
else:
    tables = lazy("batchyard.judged.tables")

_decode = msgspec.json.Decoder(dict).decode
NEEDED = ("custom_id", "score")


def read_scores(file: str) -> Iterator[Given]:
    """The lines with their numbers; `-` is standard input, as JSON lines. Raises InputError for
    a file that cannot be read, or is none of these."""
    name = Path(file).name.lower()
    if name.endswith(".parquet"):
        return _parquet(Path(file))
    return _csv(file) if name.removesuffix(".gz").endswith(".csv") else _jsonl(file)


def _jsonl(file: str) -> Iterator[Given]:
    for number, line in read_lines(file):
        if isinstance(line, LineProblem):
            raise InputError(f"{file} cannot be read", (line,))
        try:
            yield Given(number, _decode(line))
        except msgspec.DecodeError as error:
            fix = 'Write e.g. {"custom_id": "m-17", "score": 1}'
            problem = LineProblem(number, "", "not a JSON object", fix, "bad_score")
            raise InputError(f"{file} cannot be read", (problem,)) from error


def _csv(file: str) -> Iterator[Given]:
    with open_source(file) as source:
        text = io.TextIOWrapper(unpacked(source), encoding="utf-8-sig", newline="")
        reader = csv.DictReader(text, strict=True)
        _check(file, reader.fieldnames or ())
        try:
            for row in reader:
                yield Given(reader.line_num, row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{file} line {reader.line_num}: cannot be read: {error}. Save it as CSV in UTF-8"
            ) from error


def _parquet(path: Path) -> Iterator[Given]:
    table = tables.read_table(path)
    _check(str(path), tuple(table))
    columns = [name for name in (*NEEDED, "scorer") if name in table]
    rows = zip(*(table[name] for name in columns), strict=True)
    for number, row in enumerate(rows, 1):
        yield Given(number, dict(zip(columns, row, strict=True)))


def _check(file: str, columns: Sequence[str]) -> None:
    for name in NEEDED:
        if name not in columns:
            there = ", ".join(columns) or "none"
            raise InputError(f"{file} has no column {name!r} (its columns: {there}). Name one so")
