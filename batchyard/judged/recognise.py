"""What the columns of a table of judged prompts are: text, candidates, costs, answers, tags.

A candidate is a column of scores under its own name (`mini`), or under `mini|score` and the
like. Its costs and answers are columns that begin or end with its name: `mini|total_cost`,
`mini_cost`, `mini|model_response`, `mini_response`. Of two candidates, `weak_response` and
`strong_response` are those of the one with the lower and the higher mean score.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from batchyard.judged.prices import CallPrice, assumed_prices, call_costs
from batchyard.judged.tables import Table, name_rows, rows_of
from core.errors import InputError
from routing.labelled import Labelled
from routing.models.state import Array, Floats

TEXTS: Final = ("prompt", "text", "question", "query", "input", "instruction", "content")
_NOT_SCORES: Final = re.compile(
    r"(?i)^(?:index|idx|id|row|seq|n|.*_id|.*_index|fold|split|label|weight|propensity|.*tokens.*"
    r"|.*length.*|.*latency.*)$"
)
_SCORE: Final = re.compile(r"(?i)[|_.: ]*\b(?:score|correct|correctness|quality|is_correct)$")
_COST: Final = re.compile(r"(?i)[|_.: ](?:total_?cost|cost(?:_?usd)?|usd)$")
_ANSWER: Final = re.compile(r"(?i)[|_.: ](?:model_?response|response|answer|output|completion)$")
_TRUE: Final = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0, "": float("nan")}
_MOST_TAGS: Final = 0.5  # a column with more different values than half its rows is no tag


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user has said about the columns; what is empty is recognised."""

    text: str = ""
    candidates: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    prices: Mapping[str, CallPrice] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was recognised: the data, and a line for each kind of column."""

    data: Labelled
    lines: tuple[str, ...]


def recognise(table: Table, wanted: Wanted) -> Seen:
    """The judged prompts of a table. Raises InputError, with what there is, where no text or
    fewer than two candidates are to be found."""
    text = _text_column(table, wanted.text)
    scores = _score_columns(table, wanted, text)
    quality = np.column_stack([_scores(name, table[column]) for name, column in scores.items()])
    names = tuple(scores)
    answers = _answers(table, names, quality)
    prompts = ["" if value is None else str(value) for value in table[text]]
    cost, costs, note = _costs(table, names, wanted, prompts, answers, quality)
    for column in wanted.metadata:
        _must_have(table, column, "metadata")
    tags = {column: table[column] for column in wanted.metadata}
    metadata = [
        {column: "" if values[row] is None else str(values[row]) for column, values in tags.items()}
        for row in range(rows_of(table))
    ]
    data = Labelled(
        prompts=prompts, metadata=metadata, candidates=names, quality=quality,
        cost=cost, costs=costs, responses=answers,
    )  # fmt: skip
    used = {text, *scores.values(), *wanted.metadata}
    left = [column for column in table if column not in used and _is_tag(table[column])]
    lines = [f"prompts: {len(prompts)}, in {text}", f"candidates: {', '.join(names)}", note]
    if answers:
        lines.append(f"answers: of {', '.join(answers)}")
    if wanted.metadata:
        lines.append(f"metadata: {', '.join(wanted.metadata)}")
    if left:
        lines.append(f"not used: {', '.join(left)} (--metadata {','.join(left)})")
    return Seen(data, tuple(lines))


def _text_column(table: Table, wanted: str) -> str:
    if wanted:
        return _must_have(table, wanted, "text")
    lower = {column.lower(): column for column in table}
    for name in TEXTS:
        if name in lower:
            return lower[name]
    raise InputError(
        f"No column with the prompts: none of {', '.join(TEXTS)} is among {', '.join(table)}. "
        "Name it with --text."
    )


def _must_have(table: Table, column: str, what: str) -> str:
    if column not in table:
        raise InputError(f"No column {column!r} for {what}. There are: {', '.join(table)}.")
    return column


def _score_columns(table: Table, wanted: Wanted, text: str) -> dict[str, str]:
    """From a candidate's name to its column of scores."""
    if wanted.candidates:
        return {name: _scores_of(table, name) for name in wanted.candidates}
    with_cost = {_COST.sub("", column) for column in table if _COST.search(column)}
    found = {
        _SCORE.sub("", column) or column: column
        for column in table
        if column not in {text, *wanted.metadata}
        and not _COST.search(column)
        and not _NOT_SCORES.match(column)
        and _are_scores(table[column])
    }
    if len(with_cost & set(found)) > 1:
        found = {name: column for name, column in found.items() if name in with_cost}
    if len(found) < 2:
        told = ", ".join(found) or "none"
        raise InputError(
            f"A choice needs the scores of at least two candidates: a column for each, with "
            f"values from 0 to 1 or true and false. Found: {told}, among {', '.join(table)}. "
            "Name them with --candidates."
        )
    return found


def _scores_of(table: Table, name: str) -> str:
    for column in table:
        if name in (column, _SCORE.sub("", column)):
            return column
    return _must_have(table, name, "a candidate's scores")


def _are_scores(values: Sequence[Any]) -> bool:
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None and number == number]
    return bool(known) and None not in numbers and all(0 <= number <= 1 for number in known)


def _number(value: Any) -> float | None:
    """A score as a number; NaN for a missing one, None for what is none."""
    if value is None:
        return float("nan")
    if isinstance(value, str):
        told = _TRUE.get(value.strip().lower())
        if told is not None:
            return told
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, bool | int | float) else None


def _scores(name: str, values: Sequence[Any]) -> Floats:
    numbers = [_number(value) for value in values]
    for row, number in enumerate(numbers):
        if number is None or not (0 <= number <= 1 or number != number):
            raise InputError(
                f"The score of {name} in row {row + 1} is {values[row]!r}: scores are numbers "
                "from 0 to 1, or true and false."
            )
    scores = np.array(numbers, np.float32)
    if np.isnan(scores).all():
        raise InputError(
            f"{name} has no score in any row, so nothing can be told of it. Give some, or leave it "
            "out of --candidates."
        )
    return scores


def _answers(table: Table, names: Sequence[str], quality: Floats) -> dict[str, Sequence[str]]:
    """The texts that candidates have answered with, by candidate."""
    columns = {_ANSWER.sub("", column): column for column in table if _ANSWER.search(column)}
    if len(names) == 2:
        weak = int(np.nanmean(quality, axis=0).argmin())
        for role, place in (("weak", weak), ("strong", 1 - weak)):
            if role in columns:
                columns.setdefault(names[place], columns[role])
    return {
        name: ["" if value is None else _unwrapped(str(value)) for value in table[columns[name]]]
        for name in names
        if name in columns
    }


def _unwrapped(answer: str) -> str:
    """The text of an answer that was written down as a list of one text, which some collections
    do, or as that list in quotes."""
    text = answer.strip()
    for begins in ('"[', "["):
        if text.startswith(begins):
            try:
                inner = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return answer
            if isinstance(inner, list):
                alone = len(inner) == 1 and isinstance(inner[0], str)
                return inner[0] if alone else answer
            text = str(inner)
    return answer


def _costs(
    table: Table,
    names: Sequence[str],
    wanted: Wanted,
    prompts: Sequence[str],
    answers: Mapping[str, Sequence[str]],
    quality: Floats,
) -> tuple[Array, Any, str]:
    """float64[n, m] US dollars, what they are, and a line about it."""
    columns = {_COST.sub("", column): column for column in table if _COST.search(column)}
    if wanted.prices is not None:
        cost = call_costs(names, wanted.prices, prompts, answers)
        return cost, "prices", "costs: from the prices given"
    if all(name in columns for name in names):
        cost = np.column_stack([_money(table, columns[name]) for name in names])
        return cost, "measured", f"costs: measured, in US dollars{_unknown(names, cost)}"
    some = [name for name in names if name in columns]
    ignored = f" ({columns[some[0]]} is not used: not every candidate has one)" if some else ""
    if len(names) == 2:
        strong = np.nanmean(quality, axis=0).argmax()
        cost = np.zeros(quality.shape)
        cost[:, strong] = 1
        return (
            cost,
            "calls",
            f"costs: unknown; calls to {names[strong]} are counted instead{ignored}",
        )
    prices = assumed_prices(names)
    cost = call_costs(names, prices, prompts, answers)
    return (
        cost,
        "assumed",
        (
            "costs: ASSUMED from the sizes in the candidates' names; give --prices, or a column "
            f"`<candidate>|total_cost` for each{ignored}"
        ),
    )


def _unknown(names: Sequence[str], cost: Array) -> str:
    """Whose costs are missing, and where; what they are is learned from the other rows."""
    missing = {
        name: np.flatnonzero(np.isnan(cost[:, at])).tolist() for at, name in enumerate(names)
    }
    told = [f"none of {name} in {name_rows(rows)}" for name, rows in missing.items() if rows]
    return f"; {'; '.join(told)}: learned from the others" if told else ""


def _money(table: Table, column: str) -> Array:
    try:
        told = np.array(
            [np.nan if value in (None, "") else float(value) for value in table[column]]
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"Column {column} holds what is no amount of money: {error}.") from error
    if (told < 0).any() or np.isinf(told).any():
        raise InputError(
            f"Column {column} holds a cost below zero or without end: costs are US dollars. "
            "Mend it, leave it empty where it is not known, or give --prices FILE."
        )
    if np.isnan(told).all():
        raise InputError(f"Column {column} holds no cost in any row. Give some, or --prices FILE.")
    return told


def _is_tag(values: Sequence[Any]) -> bool:
    kinds = {value for value in values if isinstance(value, str)}
    return 1 < len(kinds) <= _MOST_TAGS * len(values) and max(map(len, kinds)) <= 80
