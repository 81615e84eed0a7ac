"""A CSV file as prompts: one row a request.

`prompt` is needed; `system`, `model` and `custom_id` are taken where they are there; what other
columns hold is the request's metadata, which comes back with its result.
"""

import csv
import io
from collections.abc import Iterator
from typing import IO, Any

from core.errors import InputError, LineProblem

PROMPT = "prompt"
OWN = (PROMPT, "system", "model", "custom_id")


Row = tuple[int, dict[str, Any] | LineProblem]


def table_items(file: IO[bytes], longest: int) -> Iterator[Row]:
    """Short lines, each with the number of the line that its row begins on; a problem where a
    row has more cells than the head.

    Raises InputError where there is no column `prompt`, or where this is no CSV.
    """
    csv.field_size_limit(longest)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    begins = 1
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check(columns)
        begins = reader.line_num + 1
        for row in reader:
            if any(row):
                yield begins, _item(begins, columns, row)
            begins = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"line {begins}: the table cannot be read: {error}. Save it as CSV in UTF-8, with "
            "commas, and quotes around texts that hold commas or line breaks"
        ) from error
    finally:
        # The file is its opener's to close.
        text.detach()


def _check(columns: list[str]) -> None:
    if PROMPT not in columns:
        found = ", ".join(columns) or "none"
        raise InputError(f"The table has no column {PROMPT!r} (its columns: {found}). Name one so")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"The table has two columns {twice[0]!r}. Rename one")


def _item(line: int, columns: list[str], row: list[str]) -> dict[str, Any] | LineProblem:
    if len(row) > len(columns):
        problem = f"{len(row)} cells under {len(columns)} columns"
        return LineProblem(line, "", problem, "Put texts that hold commas in quotes")
    cells = dict(zip(columns, row, strict=False))
    item: dict[str, Any] = {name: cells[name] for name in ("custom_id", "model") if cells.get(name)}
    if cells.get("system"):
        messages = [{"role": "system", "content": cells["system"]}]
        item["messages"] = [*messages, {"role": "user", "content": cells.get(PROMPT, "")}]
    else:
        item[PROMPT] = cells.get(PROMPT, "")
    rest = {name: text for name, text in cells.items() if name not in OWN}
    if rest:
        item["metadata"] = rest
    return item
