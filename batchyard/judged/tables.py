"""Tables of judged prompts from files: Parquet, CSV, or a JSON object a line."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from core.errors import InputError

# Column by column, all of one length; what is missing is None.
Table: TypeAlias = Mapping[str, Sequence[Any]]

NAMED_ROWS: Final = 5
ENDINGS: Final = ("parquet", "csv", "tsv", "jsonl", "ndjson", "json")


def read_table(path: Path) -> Table:
    """The columns of a file, by what it is called and else by how it begins. Raises InputError
    for a file that is none of these, is not there, or has no rows."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    try:
        table = _read(path, path.suffix.lower().removeprefix("."))
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if not table or not len(next(iter(table.values()))):
        raise InputError(f"{path}: has no rows.")
    return table


def rows_of(table: Table) -> int:
    """How many rows a table has."""
    return len(next(iter(table.values()), ()))


def name_rows(rows: Sequence[int]) -> str:
    """Rows (from 0) as people count them: `row 3`, `rows 1, 2, 3 and 9 more`."""
    few = ", ".join(str(row + 1) for row in rows[:NAMED_ROWS])
    more = f" and {len(rows) - NAMED_ROWS:,} more" if len(rows) > NAMED_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {few}{more}"


def take_rows(table: Table, rows: Sequence[int]) -> Table:
    """These rows of a table, in this order."""
    return {name: [values[row] for row in rows] for name, values in table.items()}


def _read(path: Path, ending: str) -> Table:
    with path.open("rb") as file:
        begins = file.read(4)
    if begins == b"PAR1":
        return _columns(pa_parquet.read_table(path))
    if ending in ("jsonl", "ndjson", "json") or begins[:1] in (b"{", b"["):
        return _json_rows(path)
    if ending in ("csv", "tsv", "txt", ""):
        between = "\t" if ending == "tsv" else ","
        options = pa_csv.ParseOptions(delimiter=between, newlines_in_values=True)
        return _columns(pa_csv.read_csv(path, parse_options=options))
    raise InputError(f"{path}: is no table that we read ({', '.join(ENDINGS)}).")


def _columns(table: pa.Table) -> Table:
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _json_rows(path: Path) -> Table:
    text = path.read_text(encoding="utf-8-sig").strip()
    lines = [text] if text.startswith("[") else text.splitlines()
    rows: list[Any] = []
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line) if line.strip() else []
        except json.JSONDecodeError as error:
            at = f"line {number + error.lineno - 1}"
            raise InputError(f"{path}: {at} is no JSON ({error.msg}).") from error
        rows.extend(found if isinstance(found, list) else [found])
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: every row has to be a JSON object.")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
