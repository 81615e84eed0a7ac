"""Why dispatch chose the deployments that a job's calls went to, as it was kept with the chunks."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from db.connect import Connection, statements

SQL = statements("choices")


@dataclass(frozen=True, slots=True)
class Why:
    """One choice: the policy, what it went by for each candidate in view, the chosen one first,
    and those that were closed with the reason."""

    by: str
    saw: Mapping[str, str] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Calls to a deployment that a policy chose, and those that it was chosen for because
    others were closed: how many by name, and a reason. `by` is empty for calls that were made
    again where the last one went."""

    deployment: str
    by: str
    calls: int
    passed: Mapping[str, int]
    reasons: Mapping[str, str]


def read_why(text: str, deployment: str) -> Why | None:
    """A chunk's choice; None where it has none, or one for another deployment: it was bound
    anew after the call."""
    if not text:
        return None
    why = Why(**json.loads(text))
    return why if next(iter(why.saw), deployment) == deployment else None


async def choices_of(conn: Connection, part: int, job_id: int) -> list[Chosen]:
    """How the deployments of the job's calls were chosen, the most frequent first."""
    cursor = await conn.execute(SQL["of_job"], {"part": part, "job_id": job_id})
    calls: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str, str]] = Counter()
    reasons: dict[tuple[str, str, str], str] = {}
    for deployment, text, count in await cursor.fetchall():
        why = read_why(text, deployment) or Why("")
        calls[deployment, why.by] += count
        for name, reason in why.closed.items():
            passed[deployment, why.by, name] += count
            reasons[deployment, why.by, name] = reason
    return [
        Chosen(
            *kind,
            count,
            {name: n for (*of, name), n in passed.items() if tuple(of) == kind},
            {name: told for (*of, name), told in reasons.items() if tuple(of) == kind},
        )
        for kind, count in calls.most_common()
    ]
