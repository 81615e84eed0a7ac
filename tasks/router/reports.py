"""Report: what a job did, and what its routing was worth.

Imports numpy: for commands, which load it when it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.settings import configured_name
from db.connect import Connection
from db.jobs import JobView, job_view
from db.reports import Done, Foreseen, Piloted, read_done
from routing.batch.packing import unpack, unpack_usd
from routing.curve import Numbers
from routing.measuring.drift import Outcome, outcome
from routing.measuring.savings import Bin, Did, Sample, Savings, calibration, savings

MOST: Final = 20_000
"""Requests that are looked at; of larger jobs one in so many."""

NANO: Final = 1e9
_DRAWS: Final = ("threshold", "fixed")
"""Policies under which the first candidate is the one whose answer counts."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a candidate did: answers, their share, the mean cost of one in US dollars (None where
    it is not known), and their mean score (None without)."""

    name: str
    requests: int
    share: float
    usd: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job's report. `answered` requests are looked at, one in `every`, `scored` of them have a
    score by `scorer`. `saved` is None where nothing is known of what others would have given.
    `pilot_nusd` is what the jobs that work for it cost beside it."""

    view: JobView
    every: int
    answered: int
    scored: int
    scorer: str | None
    names: tuple[str, ...]
    parts: list[Part]
    calibration: list[Bin]
    saved: Savings | None
    pilot_nusd: int


@dataclass(frozen=True, slots=True)
class ScoreDrift:
    """How good a job's answers were beside what was foreseen, by which `model` (its name and
    version), and whose scores they are."""

    model: str
    scorer: str
    outcome: Outcome


async def score_drift(
    conn: Connection, project_id: int, job_id: int, model: str
) -> ScoreDrift | None:
    """Of a job that went by the router model of this name; None where it did not, or has too few
    scores. Raises NotFoundError."""
    view = await job_view(conn, project_id, job_id)
    done = await read_done(conn, view.part, job_id, every=_every(view.total))
    _, _, foreseen_by = done.policy.partition(" by ")
    foreseen_by = foreseen_by.partition(",")[0]
    if done.scorer is None or foreseen_by.rpartition(" version ")[0] != model:
        return None
    did = assemble(done)
    found = outcome(did.quality[np.arange(len(did.by)), did.by], did.score)
    return None if found is None else ScoreDrift(foreseen_by, done.scorer, found)


def _every(total: int) -> int:
    """One request in how many is looked at."""
    return max(1, -(-total // MOST))


async def report(
    conn: Connection, project_id: int, job_id: int, scorer: str | None = None
) -> JobReport:
    """The report as things stand. Raises NotFoundError, InputError for an unknown scorer."""
    view = await job_view(conn, project_id, job_id)
    every = _every(view.total)
    done = await read_done(conn, view.part, job_id, every=every, scorer=scorer)
    did = assemble(done)
    rows = np.arange(len(did.by))
    told = did.quality[rows, did.by]
    draws = done.policy.split(" ", 1)[0] in _DRAWS
    return JobReport(
        view=view,
        every=every,
        answered=len(did.by),
        scored=int((~np.isnan(did.score)).sum()),
        scorer=done.scorer,
        names=did.names,
        parts=_parts(did),
        calibration=calibration(told, did.score),
        saved=savings(did, _sample(done.piloted, did.names), draws=draws),
        pilot_nusd=sum(line.cost_nusd for line in view.linked if line.kind == "pilot"),
    )


def assemble(done: Done) -> Did:
    """What was read as arrays. Candidates are those predicted for and those that answered."""
    answered = [configured_name(one.deployment) for one in done.answers]
    predicted = [name for row in done.foreseen for name in row.candidates]
    names = tuple(dict.fromkeys([*predicted, *answered]))
    seqs = np.array([one.seq for one in done.answers], np.int64)
    shape = len(seqs), len(names)
    quality, cost = np.full(shape, np.nan), np.full(shape, np.nan)
    first, propensity = np.full(len(seqs), -1), np.full(len(seqs), np.nan)
    for row in done.foreseen:
        _place(row, names, seqs, (quality, cost, first, propensity))
    return Did(
        names=names,
        score=np.array([_number(one.score) for one in done.answers]),
        paid=np.array([_number(one.cost_nusd) for one in done.answers]) / NANO,
        by=np.array([names.index(name) for name in answered], np.int64),
        quality=quality,
        cost=cost,
        first=None if (first < 0).any() else first,
        propensity=propensity,
    )


def _place(
    row: Foreseen,
    names: Sequence[str],
    seqs: NDArray[np.int64],
    into: tuple[Numbers, Numbers, NDArray[np.int64], Numbers],
) -> None:
    """Puts a route chunk's predictions where the answers to its requests stand."""
    quality, cost, first, propensity = into
    _, at, own = np.intersect1d(seqs, np.array(row.seqs, np.int64), return_indices=True)
    columns = np.array([names.index(name) for name in row.candidates])
    quality[np.ix_(at, columns)] = unpack(row.quality, len(columns))[own]
    cost[np.ix_(at, columns)] = unpack_usd(row.cost, len(columns))[own]
    if row.propensity is not None:
        propensity[at] = np.array(row.propensity)[own]
    asked = [configured_name(row.firsts.get(str(plan), "")) for plan in row.plan_ids]
    places = np.array([names.index(name) if name in names else -1 for name in asked])
    first[at] = places[own]


def _sample(piloted: Sequence[Piloted], names: Sequence[str]) -> Sample | None:
    """The pilot's requests that every candidate has a priced and scored answer to."""
    place = {row: at for at, row in enumerate(dict.fromkeys(one.row for one in piloted))}
    tables = np.full((2, len(place), len(names)), np.nan)
    for one in piloted:
        name = configured_name(one.target)
        if name in names:
            where = place[one.row], list(names).index(name)
            tables[(0, *where)], tables[(1, *where)] = one.score, _number(one.cost_nusd)
    whole = ~np.isnan(tables).any(axis=(0, 2))
    if not whole.any():
        return None
    return Sample(tables[0][whole], tables[1][whole] / NANO)


def _parts(did: Did) -> list[Part]:
    found = []
    for column, name in enumerate(did.names):
        mine = did.by == column
        paid, score = did.paid[mine], did.score[mine]
        found.append(
            Part(
                name,
                int(mine.sum()),
                float(mine.mean()) if len(mine) else 0.0,
                None if not len(paid) or np.isnan(paid).any() else float(paid.mean()),
                None if np.isnan(score).all() else float(np.nanmean(score)),
            )
        )
    return sorted(found, key=lambda part: -part.requests)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
