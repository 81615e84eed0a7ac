"""Scores: what is still to be scored, what was found, and what it adds up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.errors import NotFoundError
from core.ids import job_name
from db.connect import Connection, only_row, statements

SQL = statements("scores")


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a job's answers are scored, and how far the present pass has come: `last` says that
    it began after the job's end."""

    part: int
    total: int
    gold: str
    scorer: str
    scored_to: int
    began_at: datetime
    last: bool


class Unscored(NamedTuple):
    """An answer without a score; metadata and body are JSON."""

    seq: int
    round: int
    metadata: str | None
    body: str
    deployment: str


class Score(NamedTuple):
    """What a scorer says of a request's answer in a round, 0 to 1."""

    seq: int
    round: int
    scorer: str
    value: float


class Known(NamedTuple):
    """A request by its name; `round` is that of its answer, None where it has none."""

    custom_id: str
    seq: int
    round: int | None


@dataclass(frozen=True, slots=True)
class ScoreSum:
    """The scores of one scorer for the answers of one deployment."""

    scorer: str
    deployment: str
    count: int
    total: float
    squares: float

    @property
    def figures(self) -> tuple[int, float, float]:
        """How many, their sum, the sum of their squares."""
        return self.count, self.total, self.squares


@dataclass(frozen=True, slots=True)
class Scores:
    """A job's scores. `gold` and `scorer` are None where it has no right answers; `complete`
    says that all its answers have been looked at since its end."""

    gold: str | None
    scorer: str | None
    complete: bool
    answers: int
    sums: list[ScoreSum]


async def put_scoring(conn: Connection, job_id: int, gold: str, scorer: str) -> None:
    """From now on the job's answers are scored."""
    await conn.execute(SQL["put_scoring"], {"job_id": job_id, "gold": gold, "scorer": scorer})


async def is_unscored(conn: Connection, job_id: int) -> bool:
    """Whether a job's answers are to be scored and are not yet, all of them."""
    row = await (await conn.execute(SQL["is_unscored"], {"job_id": job_id})).fetchone()
    return row is not None and bool(row[0])


async def take_scoring(conn: Connection, job_id: int) -> Scoring | None:
    """Locks the job's scoring for the rest of the transaction; None where there is nothing to
    do, or somebody else does it."""
    row = await (await conn.execute(SQL["take"], {"job_id": job_id})).fetchone()
    return None if row is None else Scoring(*row)


async def unscored(
    conn: Connection, job_id: int, scoring: Scoring, first: int, last: int
) -> list[Unscored]:
    """The answers of requests `first` to `last - 1` that have no score yet."""
    where = {"part": scoring.part, "job_id": job_id, "first": first, "last": last}
    cursor = await conn.execute(SQL["unscored"], {**where, "scorer": name_of(scoring.scorer)})
    return [Unscored(*row) for row in await cursor.fetchall()]


async def put_scores(
    conn: Connection, part: int, job_id: int, scorer: str, scores: Sequence[tuple[int, int, float]]
) -> None:
    """Keeps (seq, round, value); what is there already stays."""
    seqs, rounds, values = zip(*scores, strict=True) if scores else ((), (), ())
    lists = {"seqs": list(seqs), "rounds": list(rounds), "values": list(values)}
    key = {"part": part, "job_id": job_id, "scorer": name_of(scorer)}
    await conn.execute(SQL["put"], {**key, **lists})


async def keep_progress(conn: Connection, job_id: int, scoring: Scoring, scored_to: int) -> None:
    """How far the pass has come; 0 is its end."""
    params = {"job_id": job_id, "scored_to": scored_to}
    await conn.execute(SQL["went"], {**params, "began_at": scoring.began_at, "last": scoring.last})


async def due_scorings(conn: Connection, pause: float) -> list[int]:
    """Jobs that have something to score and that nobody is at work on. Those that still run
    have a pass every `pause` seconds."""
    cursor = await conn.execute(SQL["due"], {"pause": pause})
    return [row[0] for row in await cursor.fetchall()]


async def part_of(conn: Connection, project_id: int, job_id: int) -> int:
    """Where the job's rows are. Raises NotFoundError."""
    where = {"project_id": project_id, "job_id": job_id}
    row = await (await conn.execute(SQL["job"], where)).fetchone()
    if row is None:
        raise NotFoundError(f"There is no {job_name(job_id)} here. `batchyard jobs` lists them")
    return int(row[0])


async def known_requests(
    conn: Connection, part: int, job_id: int, custom_ids: Sequence[str]
) -> dict[str, Known]:
    """Those of the names that the job has."""
    where = {"part": part, "job_id": job_id, "custom_ids": list(custom_ids)}
    cursor = await conn.execute(SQL["known"], where)
    return {row[0]: Known(*row) for row in await cursor.fetchall()}


async def import_scores(conn: Connection, part: int, job_id: int, scores: Sequence[Score]) -> None:
    """Keeps scores, in place of what the same scorer said before."""
    seqs, rounds, scorers, values = zip(*scores, strict=True) if scores else ((), (), (), ())
    lists = {"seqs": list(seqs), "rounds": list(rounds), "values": list(values)}
    key = {"part": part, "job_id": job_id, "scorers": list(scorers)}
    await conn.execute(SQL["import"], {**key, **lists})


async def job_scores(conn: Connection, project_id: int, job_id: int) -> Scores:
    """What the job's answers are worth. Raises NotFoundError."""
    part = await part_of(conn, project_id, job_id)
    sums = await score_sums(conn, part, job_id)
    row = await (await conn.execute(SQL["scoring"], {"job_id": job_id})).fetchone()
    answers = await only_row(conn, SQL["answers"], {"job_id": job_id})
    gold, scorer, done = row or (None, None, True)
    return Scores(gold, scorer, done, int(answers[0]), sums)


async def score_sums(conn: Connection, part: int, job_id: int) -> list[ScoreSum]:
    """By scorer and deployment, of current results only."""
    cursor = await conn.execute(SQL["summary"], {"part": part, "job_id": job_id})
    return [ScoreSum(*row) for row in await cursor.fetchall()]


def name_of(scorer: str) -> str:
    """What scores are kept under: `choice` for `choice:a,b`."""
    return scorer.partition(":")[0]
