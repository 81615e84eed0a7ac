"""Whose turn it is: fair order over projects and, within each, over its jobs.

Self-clocked fair queueing on two levels. A job's next chunk *ends* where its last one ended
plus size / weight, in a time that only service moves on; the earliest end goes first. The same
among projects, each represented by the next chunk of its own order. So over any while in which
they wait, two jobs of a project get in proportion to their weights, and so do two projects,
however many jobs each has.

A newcomer begins at the clock, the end of what was served last: it neither starves, nor is
paid for the time before it came. Whoever waits keeps its place, however small the room.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast


class Sized(Protocol):
    """What is queued: a number of requests."""

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Sized)


@dataclass(slots=True)
class ProjectTurn:
    """A project that waits: where its last chunk ended among projects, and the clock of its
    jobs. `reached` is None for a newcomer."""

    weight: float
    reached: float | None = None
    clock: float = 0.0


@dataclass(slots=True)
class JobTurn:
    """A job that waits: where its last chunk ended among its project's; None for a newcomer."""

    project: int
    weight: float
    reached: float | None = None


class _Line(Generic[T]):
    """A job's chunks in order, the next one in sight."""

    def __init__(self, turn: JobTurn, start: float, chunks: Iterable[T]) -> None:
        self.turn = turn
        self.start = start
        self._chunks = iter(chunks)
        self.head: T | None = next(self._chunks, None)

    def end(self) -> float:
        return self.start + (self.head.size if self.head else 0) / self.turn.weight

    def step(self) -> None:
        self.head = next(self._chunks, None)


class _Group(Generic[T]):
    """A project's jobs, by the ends of their next chunks."""

    def __init__(self, turn: ProjectTurn, start: float) -> None:
        self.turn = turn
        self.start = start
        self.clock = turn.clock
        self.jobs: list[tuple[float, int]] = []

    def end(self, lines: Mapping[int, _Line[T]]) -> float:
        head = lines[self.jobs[0][1]].head
        return self.start + (head.size if head else 0) / self.turn.weight


class FairQueue(Generic[T]):
    """One pass over what waits. Iterate, and call `take` for what was served, all of it or a
    part; what was not is passed by, and its job's next chunk is offered in its place."""

    def __init__(
        self,
        clock: float,
        projects: Mapping[int, ProjectTurn],
        jobs: Mapping[int, JobTurn],
        chunks: Mapping[int, Iterable[T]],
    ) -> None:
        self.clock = clock
        self._taken = 0
        self._newcomers = clock
        self._lines: dict[int, _Line[T]] = {}
        self._groups: dict[int, _Group[T]] = {}
        self.add(projects, jobs, chunks)

    def add(
        self,
        projects: Mapping[int, ProjectTurn],
        jobs: Mapping[int, JobTurn],
        chunks: Mapping[int, Iterable[T]],
    ) -> None:
        """More that waits, as it stood when the pass began. To be iterated anew, when all that
        there was has been offered."""
        for id_, project in projects.items():
            if id_ not in self._groups:
                start = self._newcomers if project.reached is None else project.reached
                self._groups[id_] = _Group(project, start)
        for id_, job in jobs.items():
            clock = self._groups[job.project].turn.clock
            start = clock if job.reached is None else job.reached
            self._lines[id_] = _Line(job, start, chunks[id_])

    def __iter__(self) -> Iterator[tuple[int, T]]:
        """Job ids with their chunks, fairest first."""
        for id_, line in self._lines.items():
            if line.head is not None:
                self._groups[line.turn.project].jobs.append((line.end(), id_))
        for group in self._groups.values():
            heapq.heapify(group.jobs)
        heap = [(g.end(self._lines), id_) for id_, g in self._groups.items() if g.jobs]
        heapq.heapify(heap)
        while heap:
            _, project = heap[0]
            group = self._groups[project]
            _, job = group.jobs[0]
            line = self._lines[job]
            self._taken = 0
            yield job, cast(T, line.head)
            if self._taken:
                group.start += self._taken / group.turn.weight
                line.start += self._taken / line.turn.weight
                group.clock = max(group.clock, line.start)
                self.clock = max(self.clock, group.start)
            line.step()
            if line.head is None:
                heapq.heappop(group.jobs)
            else:
                heapq.heapreplace(group.jobs, (line.end(), job))
            if group.jobs:
                heapq.heapreplace(heap, (group.end(self._lines), project))
            else:
                heapq.heappop(heap)

    def take(self, size: int) -> None:
        """So much of what was offered last is served."""
        self._taken = size

    def job_reached(self, job: int) -> float:
        """Where the job's last chunk ended among its project's jobs."""
        return self._lines[job].start

    def job_head(self, job: int) -> T | None:
        """The job's next chunk, None where all in sight were offered."""
        return self._lines[job].head

    def project_reached(self, project: int) -> float:
        """Where the project's last chunk ended among projects."""
        return self._groups[project].start

    def project_clock(self, project: int) -> float:
        """The clock of the project's jobs."""
        return self._groups[project].clock
