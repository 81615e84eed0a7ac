"""What haste a deadline makes, as Postgres reckons it."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.fair import MOST_URGENT, MOST_URGENT_PROJECT, NextJob, let_in, next_jobs
from tasks.context import Context
from tests.db.kit import Kit

PROJECTS = ("default", "other")
ALTER = b"""
update jobs set weight = %s, total = %s, deadline = now() + %s * interval '1 second' where id = %s
"""
DONE = b"""
insert into job_counters (job_id, deployment, writer, completed, needs_clarification)
values (%s, 'small', 1, %s, 1)
"""


@dataclass(frozen=True)
class Case:
    """A job: of which project, its weight, its requests, how many of them are done, and the
    seconds to its deadline, None where it has none."""

    project: int
    weight: float
    total: int
    done: int
    seconds: float | None


cases = st.builds(
    Case,
    project=st.integers(0, 1),
    weight=st.sampled_from([0.01, 0.5, 1.0, 3.0, 100.0]),
    total=st.sampled_from([1, 2, 1_000, 10**9]),
    done=st.sampled_from([0, 1, 999, 10**9]),
    seconds=st.none() | st.sampled_from([-1e7, -1.0, 0.0, 0.5, 1.0, 60.0, 1e7]),
)


def test_a_job_is_as_heavy_as_its_deadline_needs_and_never_heavier_than_the_cap(inn: Any) -> None:
    @given(
        jobs=st.lists(cases, min_size=1, max_size=5),
        rate=st.sampled_from([0.0, 0.001, 1.0, 40.0, 1e6]),
        heavy=st.sampled_from([0.01, 1.0, 100.0]),
    )
    @example(jobs=[Case(0, 1.0, 1, 1, -1.0), Case(0, 1.0, 1, 0, 0.0)], rate=0.0, heavy=1.0)
    @settings(max_examples=25, deadline=None)
    def holds(jobs: list[Case], rate: float, heavy: float) -> None:
        found = inn.run(lambda ctx: _reckoned(ctx, jobs, rate, heavy))
        weights = {project: (1.0, heavy)[project] for project in {job.project for job in jobs}}
        times = [_times(job, jobs, rate, weights) for job in jobs]
        for one, job, expected in zip(found, jobs, times, strict=True):
            assert one.job_weight == pytest.approx(job.weight * expected)
            hasty = max(t for t, j in zip(times, jobs, strict=True) if j.project == job.project)
            allowed = min(hasty, MOST_URGENT_PROJECT)
            assert one.project_weight == pytest.approx(weights[job.project] * allowed)

    holds()


def _times(job: Case, jobs: list[Case], rate: float, weights: dict[int, float]) -> float:
    """How many times its weight the job should get."""
    siblings = sum(one.weight for one in jobs if one.project == job.project)
    share = rate * weights[job.project] / sum(weights.values()) * job.weight / siblings
    open_ = job.total - job.done - 1
    if job.seconds is None or not share or open_ <= 0:
        return 1.0
    return min(max(open_ / max(job.seconds, 1.0) / share, 1.0), MOST_URGENT)


async def _reckoned(ctx: Context, jobs: list[Case], rate: float, heavy: float) -> list[NextJob]:
    """The jobs as they come next on a deployment of which nothing else is known; in the order
    of `jobs`, and nothing is kept."""
    async with ctx.pool.connection() as conn, conn.transaction(force_rollback=True):
        kit = await Kit.open(conn)
        ids = [await _put(kit, job) for job in jobs]
        await conn.execute(b"update projects set weight = %s where name = 'other'", (heavy,))
        plans = await (await conn.execute(b"select id from plans")).fetchall()
        await let_in(conn, "small", [id_ for (id_,) in plans], clock=0.0)
        found = {one.job: one for one in await next_jobs(conn, "small", rate=rate, room=10**6)}
        return [found[id_] for id_ in ids]


async def _put(kit: Kit, job: Case) -> int:
    id_ = await kit.job(1, project=PROJECTS[job.project], bind=False)
    await kit.conn.execute(ALTER, (job.weight, job.total, job.seconds, id_))
    await kit.conn.execute(DONE, (id_, job.done))
    return id_


@pytest.mark.parametrize("few", [0, 10**6])
def test_newcomers_are_found_alike_by_one_look_each_and_step_by_step(
    inn: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("db.fair.FEW_PROBES", few)

    async def story(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            kit = await Kit.open(conn)
            here = [await kit.job(30, bind=False, project=name) for name in (*PROJECTS, *PROJECTS)]
            paused, elsewhere = [await kit.job(30, bind=False) for _ in range(2)]
            await conn.execute("update jobs set paused = true where id = %s", (paused,))
            away = "update chunks set deployment = 'large' where job_id = %s"
            await conn.execute(away, (elsewhere,))
            [(first,)] = await kit.rows("select id from plans")
            await conn.execute("insert into plans (digest, body) select 'other', body from plans")
            [(second,)] = await kit.rows("select id from plans where digest = 'other'")
            for job in here[1:3]:
                by_both = "update chunks set plan_id = %s where job_id = %s and id %% 2 = 0"
                await conn.execute(by_both, (second, job))
            for _ in range(2):
                await let_in(conn, "small", [first, second], clock=3.0)
            turns = "select job_id, reached, head from turns where deployment = 'small' order by 1"
            expected = [(0, 3.0, 0)] * 2 + [(job, 0.0, 10) for job in here]
            assert await kit.rows(turns) == expected

    inn.run(story)
