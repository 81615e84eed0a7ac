"""Why dispatch chose the deployments that a job's calls went to, as it was kept with the chunks."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.plan import USUAL
from db.connect import Connection, statements

SQL = statements("choices")


@dataclass(frozen=True, slots=True)
class Why:
    """One choice: the policy, what it went by for each candidate in view, the chosen one first,
    those that were closed with the reason, and the list of the plan that it was made among."""

    by: str
    saw: Mapping[str, str] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    among: str = USUAL


@dataclass(frozen=True, slots=True)
class Chosen:
    """Calls to a deployment that a policy chose, and those that it was chosen for because
    others were closed: how many by name, and a reason. `by` is empty for calls that were made
    again where the last one went; `among` is the list of the plan that it was chosen from."""

    deployment: str
    by: str
    calls: int
    passed: Mapping[str, int]
    reasons: Mapping[str, str]
    among: str = USUAL


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
    calls: Counter[tuple[str, str, str]] = Counter()
    passed: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    reasons: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for deployment, text, count in await cursor.fetchall():
        why = read_why(text, deployment) or Why("")
        kind = deployment, why.by, why.among
        calls[kind] += count
        passed[kind].update(dict.fromkeys(why.closed, count))
        reasons[kind].update(why.closed)
    return [
        Chosen(kind[0], kind[1], count, passed[kind], reasons[kind], kind[2])
        for kind, count in calls.most_common()
    ]
