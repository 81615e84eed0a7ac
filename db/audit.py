"""The conservation law, recomputed from raw rows while jobs run.

    every request    has its result, or stands in one open chunk, or has its stopped job's outcome
    every attempt    is numbered without a gap and stands in one settle line of the ledger
    every account    is the sum of its ledger lines, which are the sums of what they stand for
    every counter    is what the rows say

One read-only snapshot; set by set, so that a million requests take well under a minute.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from core.errors import NotFoundError
from core.status import ResultStatus
from db.connect import Connection, statements

SQL = statements("audit")
JOBS_AT_ONCE = 500
SAMPLE = 5

LAWS = {
    "conservation": "the outcomes do not add up to the job's requests",
    "request_missing": "the job's requests are not all there",
    "request_unknown": "there are rows of requests that are not there",
    "request_lost": "a running job has requests without a result and without a place",
    "request_twice": "requests stand in more than one place",
    "job_incomplete": "a completed job has requests without a result",
    "chunk_broken": "chunks are not whole",
    "chunk_open_after_end": "an ended job has open chunks",
    "entry_out_of_step": "chunks count other calls than were made",
    "result_twice": "requests have more than one result in a round",
    "winner_missing": "results do not match the call they come from",
    "answer_lost": "calls were answered and their requests have no result",
    "reply_twice": "calls have more than one answer that is kept",
    "reply_astray": "answers are kept that no call brought, or that are the result at once",
    "attempt_gap": "attempts are not numbered from 1 without a gap",
    "call_after_result": "requests were called after they had their result",
    "cost_wrong": "attempts have a cost that they cannot have",
    "bill_above_bound": "calls cost more than their upper bound",
    "attempt_unbooked": "attempts stand in no ledger line",
    "settle_wrong": "ledger lines differ from the costs of their attempts",
    "release_wrong": "ledger lines release less than the bounds of their attempts",
    "project_line_missing": "the project's ledger lacks what the job's has",
    "account_drift": "an account differs from the sum of its ledger lines",
    "cost_drift": "the job's account differs from what its attempts cost",
    "reservation_orphan": "money is reserved for no call in flight",
    "adjust_wrong": "adjust lines differ from the late costs",
    "over_limit": "more is spent and reserved than the limit",
    "negative": "an amount is below zero",
    "counter_drift": "counters differ from the rows",
    "project_drift": "the project's account does not contain its jobs'",
}
"""What each law's violation says."""

CHECKS = "standing numbered chunks steps results attempts replies commits accounts counters".split()
SNAPSHOT = (
    b"set transaction isolation level repeatable read read only",
    b"set local work_mem = '64MB'",
    b"set local jit = off",
    # Fresh rows have no statistics yet, and a nested loop over them takes minutes.
    b"set local enable_nestloop = off",
)
OUTCOMES = (*(status.value for status in ResultStatus), "open")


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that does not hold. `job_id` is None for the project's own account; `sample` are
    up to five of the rows concerned, in words."""

    law: str
    job_id: int | None
    detail: str
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at and what was found.

    `facts` counts over all jobs: requests, open and each outcome; attempts, of them unknown
    (in doubt, booked at bounds of `unknown_nusd`), late and unpriced, and those
    reported `above_bound`, of which `unbooked_nusd` were not booked; `spent_nusd` and
    `reserved_nusd`.
    """

    project_id: int
    jobs: int
    facts: Mapping[str, int] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every law holds."""
        return not self.violations


async def audit(conn: Connection, project_id: int, job_id: int | None = None) -> AuditReport:
    """Audits one job with those that share its account, or all jobs of a project and its account.

    `conn` is in no transaction, or in one of REPEATABLE READ, whose own changes it then sees.
    Raises NotFoundError when there is no such job.
    """
    facts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    violations: list[Violation] = []
    async with conn.transaction():
        for setting in SNAPSHOT:
            await conn.execute(setting)
        params = {"project_id": project_id, "job_id": job_id}
        jobs = await (await conn.execute(SQL["jobs"], params)).fetchall()
        if job_id is not None and not jobs:
            raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
        for part, rows in groupby(jobs, key=lambda row: row[0]):
            families = [row[1] for row in rows]
            for at in range(0, len(families), JOBS_AT_ONCE):
                ids = [id_ for family in families[at : at + JOBS_AT_ONCE] for id_ in family]
                where = {"part": part, "ids": ids, "outcomes": list(OUTCOMES)}
                violations += await _audit_jobs(conn, where, facts)
        if job_id is None:
            violations += _violations(await _find(conn, "project", params))
    audited = sum(len(family) for _, family in jobs)
    return AuditReport(project_id, audited, dict(facts), tuple(violations))


Found = tuple[int | None, str, int, list[str]]
"""A job, a law or an outcome, how often, and a sample."""


async def _find(conn: Connection, name: str, params: Mapping[str, object]) -> list[Found]:
    statement = SQL[name].replace(b"{entries}", SQL["entries"])
    summed = (
        b"select job_id, law, count(*),"
        b" coalesce((array_agg(what) filter (where what is not null))[1:%d], '{}')"
        b" from (%s) found group by job_id, law order by job_id, law" % (SAMPLE, statement)
    )
    cursor = await conn.execute(summed, params)
    return [(row[0], row[1], row[2], row[3]) for row in await cursor.fetchall()]


async def _audit_jobs(
    conn: Connection, where: Mapping[str, object], facts: Counter[str]
) -> list[Violation]:
    """All laws over jobs of one part; adds to `facts`."""
    cursor = await conn.execute(SQL["facts"], where)
    (row,) = await cursor.fetchall()
    names = [column.name for column in cursor.description or ()]
    facts.update(dict(zip(names, row, strict=True)))
    found = [one for name in CHECKS for one in await _find(conn, name, where)]
    outcomes: dict[int | None, int] = defaultdict(int)
    for job_id, word, count, _ in found:
        if word in OUTCOMES:
            facts[word] += count
            outcomes[job_id] += count
    totals = await conn.execute(SQL["totals"], where)
    return _violations(found) + [
        Violation("conservation", job_id, LAWS["conservation"], (f"{outcomes[job_id]} of {total}",))
        for job_id, total in await totals.fetchall()
        if outcomes[job_id] != total
    ]


def _violations(found: list[Found]) -> list[Violation]:
    return [
        Violation(law, job_id, f"{LAWS[law]} ({count} found)", tuple(sample))
        for job_id, law, count, sample in found
        if law in LAWS
    ]
