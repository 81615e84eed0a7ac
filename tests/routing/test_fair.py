import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.fair import FairQueue, JobTurn, ProjectTurn


@dataclass(frozen=True)
class Chunk:
    size: int


@dataclass
class Yard:
    """What dispatch keeps between its passes, driven with a little room at a time."""

    weights: dict[int, float]
    clock: float = 0.0
    projects: dict[int, ProjectTurn] = field(default_factory=dict)
    jobs: dict[int, JobTurn] = field(default_factory=dict)
    waiting: dict[int, list[Chunk]] = field(default_factory=dict)
    served: Counter[int] = field(default_factory=Counter)

    def add(self, job: int, project: int, weight: float, sizes: Iterable[int]) -> None:
        self.projects.setdefault(project, ProjectTurn(self.weights[project]))
        self.jobs[job] = JobTurn(project, weight)
        self.waiting[job] = [Chunk(size) for size in sizes]

    def dispatch(self, room: int, blocked: frozenset[int] = frozenset()) -> list[int]:
        """One pass; the jobs served, in order. What no longer waits is forgotten."""
        queue = FairQueue(self.clock, self.projects, self.jobs, self.waiting)
        served = []
        for job, chunk in queue:
            if room <= 0:
                break
            if job in blocked:
                continue
            queue.take(chunk.size)
            room -= chunk.size
            served.append(job)
            self.served[job] += chunk.size
        for job in served:
            self.waiting[job].pop(0)
        self.clock = queue.clock
        for id_, project in self.projects.items():
            project.reached = queue.project_reached(id_)
            project.clock = queue.project_clock(id_)
        for id_, job in list(self.jobs.items()):
            job.reached = queue.job_reached(id_)
            if not self.waiting[id_]:
                del self.jobs[id_]
        present = {job.project for job in self.jobs.values()}
        self.projects = {id_: p for id_, p in self.projects.items() if id_ in present}
        return served

    def of_project(self, jobs: Iterable[int]) -> int:
        return sum(self.served[job] for job in jobs)


def test_equal_jobs_take_turns() -> None:
    yard = Yard({1: 1})
    for job in (1, 2, 3):
        yard.add(job, 1, 1, [200] * 10)
    assert yard.dispatch(1200) == [1, 2, 3, 1, 2, 3]


@given(
    weights=st.lists(st.sampled_from([0.25, 0.5, 1, 2, 3, 7]), min_size=2, max_size=12),
    room=st.integers(1, 3000),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_service_converges_to_the_weights_however_small_the_room(
    weights: list[float], room: int, seed: int
) -> None:
    """Room for less than a chunk a job: a pick without memory would serve the same jobs again
    and again."""
    rng = random.Random(seed)
    yard = Yard({1: 1})
    for job, weight in enumerate(weights):
        yard.add(job, 1, weight, [rng.randint(1, 200) for _ in range(4000)])
    while sum(yard.served.values()) < 60_000 and all(yard.waiting.values()):
        yard.dispatch(room)
    # Nobody is ever more than a chunk of its own, and of each other's, from its due.
    normal = [yard.served[job] / weight for job, weight in enumerate(weights)]
    for job, weight in enumerate(weights):
        others = [200 / w for n, w in enumerate(weights) if n != job]
        assert max(normal) - normal[job] <= 200 / weight + max(others) + 1e-6


@given(
    jobs=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0.5, 1, 4])), min_size=3),
    room=st.integers(1, 1000),
)
@settings(max_examples=40, deadline=None)
def test_projects_share_by_weight_however_many_jobs_each_has(
    jobs: list[tuple[int, float]], room: int
) -> None:
    weights = {1: 1.0, 2: 2.0, 3: 5.0}
    yard = Yard(weights)
    for job, (project, weight) in enumerate(jobs):
        yard.add(job, project, weight, [100] * 2000)
    while sum(yard.served.values()) < 80_000:
        yard.dispatch(room)
    normal = {
        project: yard.of_project(job for job, (p, _) in enumerate(jobs) if p == project)
        / weights[project]
        for project in {project for project, _ in jobs}
    }
    assert max(normal.values()) - min(normal.values()) <= 2 * 100 / min(weights.values()) + 1e-6


def test_a_newcomer_is_served_at_once_and_not_for_the_time_before() -> None:
    yard = Yard({1: 1, 2: 1})
    yard.add(1, 1, 1, [200] * 5000)
    for _ in range(100):
        yard.dispatch(2000)
    yard.add(2, 2, 1, [10])
    assert yard.dispatch(200)[0] == 2
    yard.add(3, 2, 1, [200] * 5000)
    before = yard.served[1]
    for _ in range(100):
        yard.dispatch(400)
    assert abs(yard.served[3] - (yard.served[1] - before)) <= 400


def test_a_stream_of_small_newcomers_starves_nobody() -> None:
    yard = Yard({1: 1, 2: 1})
    yard.add(0, 1, 1, [200] * 5000)
    for job in range(1, 2000):
        yard.add(job, 2, 1, [10])
        yard.dispatch(10)
    small = yard.of_project(range(1, 2000))
    assert yard.served[0] >= small - 400


def test_a_job_that_comes_back_has_saved_nothing_up() -> None:
    yard = Yard({1: 1})
    yard.add(1, 1, 1, [200] * 5000)
    yard.add(2, 1, 1, [200] * 2)
    for _ in range(200):
        yard.dispatch(400)
    yard.add(2, 1, 1, [200] * 5000)
    before = yard.served.copy()
    for _ in range(50):
        yard.dispatch(400)
    gained = yard.served - before
    assert abs(gained[1] - gained[2]) <= 400


def test_what_cannot_be_served_is_passed_by_without_charge() -> None:
    yard = Yard({1: 1})
    yard.add(1, 1, 1, [100] * 1000)
    yard.add(2, 1, 1, [100] * 1000)
    for _ in range(10):
        assert set(yard.dispatch(200, blocked=frozenset({1}))) == {2}
    # It waited all the time, so it kept its place.
    assert yard.dispatch(1000) == [1] * 10


def test_a_heavier_weight_counts_from_now_on() -> None:
    yard = Yard({1: 1})
    for job in (1, 2):
        yard.add(job, 1, 1, [100] * 5000)
    for _ in range(50):
        yard.dispatch(400)
    yard.jobs[2] = replace(yard.jobs[2], weight=3)
    before = yard.served.copy()
    for _ in range(100):
        yard.dispatch(400)
    gained = yard.served - before
    assert gained[2] / gained[1] == pytest.approx(3, rel=0.02)


def test_what_is_added_in_mid_pass_keeps_the_place_it_had_when_the_pass_began() -> None:
    queue = FairQueue(5.0, {1: ProjectTurn(1, 5.0, 3.0)}, {1: JobTurn(1, 1)}, {1: [Chunk(10)]})
    for _ in queue:
        queue.take(10)
    assert (queue.job_reached(1), queue.job_head(1)) == (13.0, None)
    queue.add({1: ProjectTurn(1, 5.0, 3.0)}, {2: JobTurn(1, 2)}, {2: [Chunk(4), Chunk(6)]})
    queue.add({2: ProjectTurn(1)}, {3: JobTurn(2, 1)}, {3: [Chunk(2)]})
    offered = []
    for job, chunk in queue:
        offered.append((job, chunk.size))
        queue.take(chunk.size)
    assert offered == [(3, 2), (2, 4), (2, 6)]
    assert (queue.job_reached(2), queue.project_reached(2)) == (8.0, 7.0)
