"""Scores that people bring: checked line by line, and kept whole or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from core.errors import InputError, LineProblem
from db.connect import Connection
from db.scores import Known, Score, import_scores, known_requests, part_of

IMPORTED: Final = "imported"
"""The scorer of a score that names none."""

MOST_PROBLEMS: Final = 100
MOST_NAME: Final = 64
PIECE: Final = 5000


class Given(NamedTuple):
    """A line of a file of scores, as it was written."""

    line: int
    fields: dict[str, Any]


class _Read(NamedTuple):
    line: int
    custom_id: str
    scorer: str
    value: float


async def put_given(
    conn: Connection, project_id: int, job_id: int, given: Iterable[Given], scorer: str = IMPORTED
) -> int:
    """Keeps the scores of these lines (custom_id, score, perhaps scorer); returns how many. A
    score takes the place of what the same scorer said of the request before.

    Raises NotFoundError for the job, and InputError with up to a hundred bad lines; then
    nothing is kept.
    """
    problems: list[LineProblem] = []
    kept, lines = 0, iter(given)
    async with conn.transaction():
        part = await part_of(conn, project_id, job_id)
        while piece := list(islice(lines, PIECE)):
            good = [*_read(piece, scorer, problems)]
            known = await known_requests(conn, part, job_id, [one.custom_id for one in good])
            scores = [*_matched(good, known, problems)]
            if len(problems) >= MOST_PROBLEMS:
                break
            await import_scores(conn, part, job_id, [*{one[:3]: one for one in scores}.values()])
            kept += len(scores)
        if problems:
            raise _refusal(problems)
    if not kept:
        raise InputError("there is no score in it. Write custom_id and score, 0 to 1, a line")
    return kept


def _read(given: Sequence[Given], scorer: str, problems: list[LineProblem]) -> Iterator[_Read]:
    for line, fields in given:
        custom_id = fields.get("custom_id")
        named = fields.get("scorer") or scorer
        value = _number(fields.get("score"))
        if not custom_id:
            problems.append(_bad(line, "custom_id", "missing", "Name the request"))
        elif not isinstance(named, str) or len(named) > MOST_NAME:
            fix = f"Give up to {MOST_NAME} characters"
            problems.append(_bad(line, "scorer", "is no name", fix))
        elif value is None or not 0 <= value <= 1:
            written = "missing" if fields.get("score") in (None, "") else f"{fields['score']!r}"
            problems.append(_bad(line, "score", written, "Give a number from 0 to 1"))
        else:
            yield _Read(line, str(custom_id), named, value)


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _matched(
    read: Sequence[_Read], known: dict[str, Known], problems: list[LineProblem]
) -> Iterator[Score]:
    for line, custom_id, scorer, value in read:
        found = known.get(custom_id)
        if found is None:
            fix = "Give a custom_id of the job; lines without one are request-<line>"
            problems.append(_bad(line, "custom_id", f"the job has no {custom_id!r}", fix))
        elif found.round is None:
            fix = "Leave it out: only answers have scores"
            problems.append(_bad(line, "custom_id", f"{custom_id!r} has no answer", fix))
        else:
            yield Score(found.seq, found.round, scorer, value)


def _bad(line: int, field: str, problem: str, fix: str) -> LineProblem:
    return LineProblem(line, field, problem, fix, "bad_score")


def _refusal(problems: list[LineProblem]) -> InputError:
    told = sorted(problems, key=lambda problem: problem.line)[:MOST_PROBLEMS]
    more = "at least " if len(problems) >= MOST_PROBLEMS else ""
    lines = "line" if len(told) == 1 else "lines"
    return InputError(
        f"{more}{len(told)} bad {lines}, so no score was kept. Mend them and import again",
        tuple(told),
    )
