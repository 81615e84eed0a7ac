"""Fair order at dispatch: the planned chunks of a deployment as they come next, and the turns
in which bound ones are claimed.

What is bound is decided by `FairOrder`, with a memory from dispatch to dispatch. In which order
lanes claim it is decided by `ClaimTurns`: about half a minute of work may be bound ahead, and a
newcomer takes its place beside what is sent now, not behind what was bound last.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import repeat

from db.connect import Connection
from db.fair import (
    Planned,
    Reached,
    Waiting,
    backlog,
    bound_turns,
    clock_of,
    heads,
    keep_last_turns,
    keep_turns,
    last_turns,
)
from routing.fair import MOST_URGENT_PROJECT, FairQueue, JobTurn, ProjectTurn, urgency

DEEPEST = 2_000
"""Chunks that one pass looks at, besides every job's first."""


class FairOrder:
    """The planned chunks of one home deployment in fair order. `look` for as many as there is
    room for and iterate; `take` what is bound, then `keep` the turns in the same transaction."""

    def __init__(
        self,
        home: str,
        plans: Collection[int],
        clock: float,
        waiting: list[Waiting],
        rate: float,
    ) -> None:
        self.home = home
        self._plans = plans
        self._clock = clock
        self._waiting = {one.job: one for one in waiting}
        self._jobs, self._projects = _turns(waiting, rate)
        self._asked: dict[int, int] = {}
        self._chunks: dict[int, list[Planned]] = defaultdict(list)
        self._taken: Counter[int] = Counter()
        self._offered = 0
        self._queue = self._make(self._chunks)

    @classmethod
    async def open(
        cls, conn: Connection, home: str, plans: Collection[int], *, rate: float = 0.0
    ) -> "FairOrder":
        """Who waits on `home` by one of the plans; the deployment's `rate` in requests a second
        tells which deadlines need haste."""
        clock, waiting = await clock_of(conn, home), await backlog(conn, home, plans)
        return cls(home, plans, clock, waiting, rate)

    async def look(self, conn: Connection, room: int) -> list[Planned]:
        """The chunks that come into question for about `room` requests."""
        self._asked = self._depths(room)
        for chunk in await heads(conn, self.home, self._plans, self._asked):
            self._chunks[chunk.job].append(chunk)
        for job, one in self._waiting.items():
            if job not in self._asked:
                self._chunks[job].append(one.head)
        self._queue = self._make(self._chunks)
        return [chunk for chunks in self._chunks.values() for chunk in chunks]

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
        return sum(chunk.size for chunk in self._chunks[job])

    def limited(self, job: int) -> bool:
        """Whether a budget limits the job."""
        return self._waiting[job].limited

    def weight(self, job: int) -> float:
        """The job's weight times its project's. Not divided by the others', so that it means
        the same in every dispatch."""
        turn = self._jobs[job]
        return self._projects[turn.project].weight * turn.weight

    async def keep(self, conn: Connection) -> None:
        """For the next dispatch: where everybody's turns stand now."""
        still = {job for job in self._waiting if not self._drained(job)}
        projects = {self._jobs[job].project for job in still}
        rows = [Reached(0, 0, self._queue.clock)]
        for id_ in projects:
            reached, clock = self._queue.project_reached(id_), self._queue.project_clock(id_)
            rows.append(Reached(id_, 0, reached, clock))
        for job in still:
            turn, reached = self._jobs[job], self._queue.job_reached(job)
            if turn.reached != reached:
                rows.append(Reached(turn.project, job, reached))
        waiting = [(id_, 0) for id_ in projects]
        waiting += [(self._jobs[job].project, job) for job in still]
        await keep_turns(conn, self.home, rows, waiting)

    def _drained(self, job: int) -> bool:
        """Whether all that the job had planned here is bound."""
        return self._taken[job] == len(self._chunks[job]) < self._asked.get(job, 0)

    def _make(self, chunks: dict[int, list[Planned]]) -> FairQueue[Planned]:
        return FairQueue(self._clock, self._projects, self._jobs, chunks)

    def _depths(self, room: int) -> dict[int, int]:
        """How many chunks to look at of the jobs whose turn it is: as many as would be served
        if all were like the first, and some more. Of the others the first one is enough."""
        alike = {job: repeat(one.head) for job, one in self._waiting.items()}
        depths: Counter[int] = Counter()
        trial = FairQueue(self._clock, self._projects, self._jobs, alike)
        for job, chunk in trial:
            if room <= 0 or depths.total() >= DEEPEST:
                break
            trial.take(chunk.size)
            depths[job] += 1
            room -= chunk.size
        return {job: 2 * depth + 1 for job, depth in depths.items()}


def _turns(
    waiting: list[Waiting], rate: float
) -> tuple[dict[int, JobTurn], dict[int, ProjectTurn]]:
    """Everybody's weights, heavier where a deadline would not be kept otherwise."""
    weights = {one.project: one.project_weight for one in waiting}
    sums: dict[int, float] = defaultdict(float)
    for one in waiting:
        sums[one.project] += one.job_weight
    jobs: dict[int, JobTurn] = {}
    projects: dict[int, ProjectTurn] = {}
    haste: dict[int, float] = defaultdict(lambda: 1.0)
    for one in waiting:
        times = 1.0
        if one.seconds is not None:
            share = one.project_weight / sum(weights.values()) * one.job_weight
            times = urgency(one.open, one.seconds, rate * share / sums[one.project])
        haste[one.project] = max(haste[one.project], min(times, MOST_URGENT_PROJECT))
        jobs[one.job] = JobTurn(one.project, one.job_weight * times, one.job_reached)
        projects[one.project] = ProjectTurn(
            one.project_weight * haste[one.project], one.project_reached, one.project_clock
        )
    return jobs, projects


class ClaimTurns:
    """The turns in which the bound chunks of some deployments are claimed and sent: each job's
    one after another, from what is sent now, by its weight."""

    def __init__(self, now: dict[str, float], reached: dict[tuple[str, int], float]) -> None:
        self._now = now
        self._reached = reached
        self._last: dict[str, float] = {}

    @classmethod
    async def read(cls, conn: Connection, deployments: list[str]) -> "ClaimTurns":
        """As they stand on the deployments."""
        now = dict.fromkeys(deployments, 0.0) | await last_turns(conn, deployments)
        bound = await bound_turns(conn, deployments)
        first: dict[str, float] = {}
        for one in bound:
            if one.now is not None:
                first[one.deployment] = min(one.now, first.get(one.deployment, one.now))
        reached = {(one.deployment, one.job): one.last for one in bound}
        return cls(now | first, reached)

    def has_bound(self, deployment: str, job: int) -> bool:
        """Whether something of the job is bound to the deployment."""
        return (deployment, job) in self._reached

    def next(self, deployment: str, chunk: Planned, weight: float) -> float:
        """The turn of a chunk that is bound now."""
        now, key = self._now[deployment], (deployment, chunk.job)
        turn = max(now, self._reached.get(key, now)) + chunk.size / weight
        self._reached[key] = turn
        self._last[deployment] = max(turn, self._last.get(deployment, 0.0))
        return turn

    async def keep(self, conn: Connection) -> None:
        """For the next dispatch."""
        await keep_last_turns(conn, self._last)
