"""Fair order at dispatch: the planned chunks of a deployment as they come next, and the turns
in which bound ones are claimed.

What is bound is decided by `FairOrder`, with a memory from dispatch to dispatch. In which order
lanes claim it is decided by `ClaimTurns`: about half a minute of work may be bound ahead, and a
newcomer takes its place beside what is sent now, not behind what was bound last.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

from db.connect import Connection
from db.fair import (
    Bound,
    Gone,
    NextJob,
    Planned,
    Reached,
    bound_turns,
    heads,
    keep_last_turns,
    keep_turns,
    last_turns,
    let_in,
    next_jobs,
)
from routing.fair import FairQueue, JobTurn, ProjectTurn

DEEPEST = 2_000
"""Chunks that one look takes in, besides every job's first."""

SLACK = 800
"""Requests beyond the room for which jobs are read at once: some chunks are cut or passed by."""

FURTHER = 4
"""How many times as far each next look goes."""


class FairOrder:
    """The planned chunks of one home deployment in fair order. `look` for as many as there is
    room for and iterate, and again while there is room left; `take` what is bound, and keep
    where the turns stand (`keep_orders`) in the same transaction."""

    def __init__(
        self,
        home: str,
        plans: Collection[int],
        *,
        clock: float = 0.0,
        rate: float = 0.0,
        full: Collection[int] = (),
    ) -> None:
        """What waits at `home` by one of the plans, but for what is of `full` projects. The
        deployment's `rate` in requests a second tells which deadlines need haste; its `clock` is
        that of `clocks_of`."""
        self.home = home
        self._plans = plans
        self._clock = clock
        self._rate = rate
        self._full = full
        self._sight = 0
        self._jobs: dict[int, NextJob] = {}
        self._chunks: dict[int, list[Planned]] = {}
        self._in_sight: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._taken: Counter[int] = Counter()
        self._offered = 0
        self._queue: FairQueue[Planned] = FairQueue(clock, {}, {}, {})

    async def look(self, conn: Connection, room: int) -> list[Planned]:
        """The chunks that come into question for about `room` requests; again, those of the jobs
        that come next. None when all have been looked at."""
        if not self._sight:
            await let_in(conn, self.home, self._plans, clock=self._clock)
        elif sum(one.head for one in self._jobs.values()) < self._sight:
            return []
        self._sight = max(FURTHER * self._sight, room + SLACK)
        found = await next_jobs(
            conn, self.home, rate=self._rate, room=self._sight, seen=self._jobs, full=self._full
        )
        depths = self._depths(found, room)
        chunks: dict[int, list[Planned]] = {job: [] for job in depths}
        for chunk in await heads(conn, self.home, self._plans, depths):
            chunks[chunk.job].append(chunk)
        self._jobs.update((one.job, one) for one in found)
        self._asked.update(depths)
        self._chunks.update(chunks)
        self._in_sight.update((job, sum(c.size for c in ones)) for job, ones in chunks.items())
        self._queue.add(*_turns(found), chunks)
        return [chunk for ones in chunks.values() for chunk in ones]

    def __iter__(self) -> Iterator[Planned]:
        for job, chunk in self._queue:
            self._offered = job
            yield chunk

    def take(self, requests: int, *, whole: bool = True) -> None:
        """So many requests of what was offered last are bound, the `whole` chunk or a part."""
        self._queue.take(requests)
        self._taken[self._offered] += int(whole)

    def in_sight(self, job: int) -> int:
        """The job's requests among the chunks that were looked at."""
        return self._in_sight[job]

    def project(self, job: int) -> int:
        """Whose job it is."""
        return self._jobs[job].project

    def limited(self, job: int) -> bool:
        """Whether a budget limits the job."""
        return self._jobs[job].limited

    def seat(self, job: int) -> "Seat":
        """What the job's turns to be claimed go by."""
        one = self._jobs[job]
        return Seat(one.project, one.project_weight, one.job_weight)

    def weights(self) -> Iterator[tuple[int, int, float]]:
        """Of the jobs in sight: project, job, weight."""
        return ((one.project, one.job, one.job_weight) for one in self._jobs.values())

    def reached(self) -> Iterator[Reached]:
        """Where turns stand now that did not stand there before."""
        queue = self._queue
        yield Reached(self.home, 0, 0, queue.clock)
        waiting = [one for one in self._jobs.values() if not self._drained(one.job)]
        for project in {one.project for one in waiting}:
            reached, clock = queue.project_reached(project), queue.project_clock(project)
            yield Reached(self.home, project, 0, reached, clock)
        for one in waiting:
            next_ = queue.job_head(one.job)
            head = next_.size if next_ else self._chunks[one.job][-1].size
            reached = queue.job_reached(one.job)
            if (reached, head) != (one.job_reached, one.head):
                yield Reached(self.home, one.project, one.job, reached, head=head)

    def gone(self) -> Iterator[Gone]:
        """Who waits here no more."""
        return ((self.home, job) for job in self._jobs if self._drained(job))

    def _drained(self, job: int) -> bool:
        """Whether all that the job had planned here, if anything, is bound."""
        return self._taken[job] == len(self._chunks[job]) < self._asked[job]

    def _depths(self, found: list[NextJob], room: int) -> dict[int, int]:
        """How many chunks to look at of the jobs whose turn it is: as many as would be served
        if all were like the first, and some more. Of the others the first one is enough."""
        alike = {one.job: repeat(_Alike(max(1, one.head))) for one in found}
        depths: Counter[int] = Counter()
        trial = FairQueue(self._clock, *_turns(found), alike)
        for job, chunk in trial:
            if room <= 0 or depths.total() >= DEEPEST:
                break
            trial.take(chunk.size)
            depths[job] += 1
            room -= chunk.size
        return {one.job: 2 * depths[one.job] + 1 for one in found}


@dataclass(frozen=True, slots=True)
class _Alike:
    """A chunk of which only the size is known."""

    size: int


def _turns(found: Iterable[NextJob]) -> tuple[dict[int, ProjectTurn], dict[int, JobTurn]]:
    """Where the jobs and their projects stand."""
    projects = {
        one.project: ProjectTurn(one.project_weight, one.project_reached, one.project_clock)
        for one in found
    }
    return projects, {
        one.job: JobTurn(one.project, one.job_weight, one.job_reached) for one in found
    }


async def keep_orders(conn: Connection, orders: Collection[FairOrder]) -> None:
    """For the next dispatch: where everybody's turns stand, and who waits no more."""
    await keep_turns(
        conn,
        [order.home for order in orders],
        [row for order in orders for row in order.reached()],
        [one for order in orders for one in order.gone()],
    )


class Seat(NamedTuple):
    """A job's project, that one's weight, and the job's own."""

    project: int
    project_weight: float
    weight: float


class ClaimTurns:
    """The turns in which the bound chunks of some deployments are claimed and sent: each job's
    one after another, from what is sent now, by its share of its project's weight.

    That share is its weight by the crowd, the weights of all jobs that its project has there.
    Who joins a project that has work bound ahead is reckoned in the same crowd as this: so it gets
    its share beside that at once, and the crowd of now counts for what comes after it.
    """

    def __init__(self, now: dict[str, float], bound: Iterable[Bound] = ()) -> None:
        self._now = now
        self._reached: dict[tuple[str, int], float] = {}
        # By deployment and project: up to which turn its work was reckoned in which crowd.
        self._reckoned: dict[tuple[str, int], dict[float, float]] = defaultdict(dict)
        self._weights: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
        self._crowds: dict[tuple[str, int], float] = {}
        self._last: dict[str, float] = {}
        for one in bound:
            key, place = (one.deployment, one.job), (one.deployment, one.project)
            self._reached[key] = max(one.last, self._reached.get(key, one.last))
            self._weights[place][one.job] = one.weight
            self._advance(place, one.crowd, one.last)

    @classmethod
    async def read(
        cls, conn: Connection, deployments: list[str], held: Collection[int] = ()
    ) -> "ClaimTurns":
        """As they stand on the deployments. What `held` projects, which have limits of their own,
        have not sent yet says how far everybody's service has come only where nobody else has
        anything bound."""
        now = dict.fromkeys(deployments, 0.0) | await last_turns(conn, deployments)
        bound = await bound_turns(conn, deployments)
        # Their own first: what others have bound takes its place.
        first = _first(one for one in bound if one.project in held)
        first |= _first(one for one in bound if one.project not in held)
        return cls(now | first, bound)

    def has_bound(self, deployment: str, job: int) -> bool:
        """Whether something of the job is bound to the deployment."""
        return (deployment, job) in self._reached

    def next(
        self, deployment: str, chunk: Planned, seat: Seat, beside: Mapping[int, float]
    ) -> tuple[float, float]:
        """The turn of a chunk that is bound now, and the crowd that it is reckoned in. `beside`
        are the weights of its project's jobs that wait, its own among them."""
        now, key, place = self._now[deployment], (deployment, chunk.job), (deployment, seat.project)
        start = max(now, self._reached.get(key, now))
        ahead = [(last, crowd) for crowd, last in self._reckoned[place].items() if last > start]
        crowd = min(ahead)[1] if ahead else self._crowd(place, beside)
        turn = start + chunk.size * crowd / (seat.project_weight * seat.weight)
        self._reached[key] = turn
        self._advance(place, crowd, turn)
        self._last[deployment] = max(turn, self._last.get(deployment, 0.0))
        return turn, crowd

    def _advance(self, place: tuple[str, int], crowd: float, last: float) -> None:
        reckoned = self._reckoned[place]
        reckoned[crowd] = max(last, reckoned.get(crowd, last))

    def _crowd(self, place: tuple[str, int], beside: Mapping[int, float]) -> float:
        if place not in self._crowds:
            self._crowds[place] = sum((self._weights[place] | {**beside}).values())
        return self._crowds[place]

    async def keep(self, conn: Connection) -> None:
        """For the next dispatch."""
        await keep_last_turns(conn, self._last)


def _first(bound: Iterable[Bound]) -> dict[str, float]:
    """By deployment the earliest that is sent of what is bound there."""
    first: dict[str, float] = {}
    for one in bound:
        if one.now is not None:
            first[one.deployment] = min(one.now, first.get(one.deployment, one.now))
    return first
