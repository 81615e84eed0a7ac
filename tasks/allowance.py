"""What projects with limits of their own may have bound: half a minute of what those grant.

What a project cannot send stands bound for long: it would take the room of all others at the
deployment, and could not go to another candidate.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.deployment import Deployment
from core.ports import Buckets
from db.connect import Connection
from db.held import Held, held_by
from db.vitals import Vital
from tasks.horizon import FIRST_PER_CALL, HORIZON, Mean, a_minute, counted_output

_Seen = tuple[Deployment, Vital]

LEAST: Final = 2
PIECES: Final = 4
"""In how many pieces its half a minute is bound: when one is done, the next is on its way."""


@dataclass(slots=True)
class Allowance:
    """How many requests of a project may still be bound, `ahead` altogether."""

    room: int
    ahead: int

    def take(self, requests: int) -> list[int]:
        """So many are bound: how many of them together, each time."""
        self.room -= requests
        piece = max(1, self.ahead // PIECES)
        rest = requests % piece
        return [piece] * (requests // piece) + ([rest] if rest else [])


async def allowances(
    conn: Connection,
    projects: Mapping[str, Buckets],
    deployments: Mapping[str, Deployment],
    vitals: Mapping[str, Vital],
) -> dict[int, Allowance]:
    """By their ids those of `projects`, which are given by name; none for one whose limits say
    nothing about what it has."""
    if not projects:
        return {}
    found = {}
    for held in await held_by(conn, list(projects), HORIZON):
        places = {name for name in held.places if name in deployments}
        seen = [(deployments[name], vitals.get(name, Vital(name))) for name in places]
        ahead = _ahead(projects[held.name], _mean(held, seen), seen)
        if ahead is not None:
            found[held.project] = Allowance(ahead - held.requests, ahead)
    return found


def _mean(held: Held, seen: list[_Seen]) -> Mean | None:
    """A request of what waits, as it is counted where least is; None where nothing waits."""
    if held.tokens is None or held.outputs is None:
        return None
    counted = [counted_output(line, vital, held.outputs) for line, vital in seen]
    return Mean(held.tokens, min(counted, default=held.outputs))


def _ahead(limits: Buckets, mean: Mean | None, seen: list[_Seen]) -> int | None:
    """Half a minute, and one to fly while the next one waits; None where nothing is limited."""
    ahead = HORIZON * a_minute(limits, mean) / 60
    if limits.in_flight is not None:
        known = [vital.latency_ms for _, vital in seen if vital.latency_ms is not None]
        calls = HORIZON * 1000 / max(min(known), 1.0) if known else FIRST_PER_CALL
        ahead = min(ahead, limits.in_flight * max(2.0, calls))
    return None if ahead == math.inf else max(LEAST, round(ahead))
