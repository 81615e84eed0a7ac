"""Fair order on real jobs, over many dispatches."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from db.lease import claim
from tasks.context import Context
from tests.db.kit import Kit, bind_fair

Story = Callable[[Kit], Awaitable[None]]


@pytest.fixture
def play(inn: Any) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def inside(ctx: Context) -> None:
            async with ctx.pool.connection() as conn:
                await story(await Kit.open(conn))

        inn.run(inside)

    return run


async def waiting_job(
    kit: Kit, total: int, *, project: str = "default", weight: float = 1.0, size: int = 10
) -> int:
    """A job, all of it planned and none of it bound."""
    job = await kit.job(total, project=project, size=size, bind=False)
    await kit.conn.execute(b"update jobs set weight = %s where id = %s", (weight, job))
    return job


async def serve(kit: Kit, *, room: int, rounds: int, rate: float = 0.0) -> Counter[int]:
    """Binds and claims, a little at a time; requests by job."""
    served: Counter[int] = Counter()
    for _ in range(rounds):
        await bind_fair(kit.conn, "small", room=room, rate=rate)
        for chunk in await claim(kit.conn, "small", owner=kit.owner, room=10**6):
            served[chunk.job_id] += chunk.size
    return served


def test_jobs_share_by_weight_although_the_room_is_less_than_a_chunk_for_each(play) -> None:
    async def story(kit: Kit) -> None:
        weights = {await waiting_job(kit, 800, weight=w): w for w in (1, 1, 2, 4, 1, 1)}
        served = await serve(kit, room=20, rounds=40)
        normal = [served[job] / weight for job, weight in weights.items()]
        assert max(normal) - min(normal) <= 20

    play(story)


def test_projects_share_by_weight_and_not_by_how_many_jobs_they_have(play) -> None:
    async def story(kit: Kit) -> None:
        many = [await waiting_job(kit, 300, project="many") for _ in range(5)]
        one = await waiting_job(kit, 900, project="heavy")
        await kit.conn.execute(b"update projects set weight = 2 where name = 'heavy'")
        served = await serve(kit, room=10, rounds=45)
        assert abs(served[one] - 2 * sum(served[job] for job in many)) <= 30

    play(story)


def test_a_newcomer_is_claimed_before_what_was_bound_long_ahead(play) -> None:
    async def story(kit: Kit) -> None:
        large = await waiting_job(kit, 2000)
        await bind_fair(kit.conn, "small", room=1000)
        await claim(kit.conn, "small", owner=kit.owner, room=100)
        small = await waiting_job(kit, 10, project="other")
        await bind_fair(kit.conn, "small", room=100)
        next_ = await claim(kit.conn, "small", owner=kit.owner, room=30)
        assert sorted(chunk.job_id for chunk in next_) == [large, large, small]

    play(story)


def test_a_newcomer_gets_a_little_where_there_is_no_room(play) -> None:
    async def story(kit: Kit) -> None:
        large = await waiting_job(kit, 1000)
        await bind_fair(kit.conn, "small", room=400)
        small = await waiting_job(kit, 300, project="other")
        await bind_fair(kit.conn, "small", room=0)
        bound = "select job_id, sum(size)::int from chunks where status = 'ready' group by job_id"
        assert dict(await kit.rows(bound)) == {large: 400, small: 10}
        await bind_fair(kit.conn, "small", room=-10)
        assert dict(await kit.rows(bound)) == {large: 400, small: 10}

    play(story)


def test_bound_ahead_or_not_claims_go_by_weight(play) -> None:
    async def story(kit: Kit) -> None:
        early = await waiting_job(kit, 1000)
        await bind_fair(kit.conn, "small", room=500)
        late = await waiting_job(kit, 1000, weight=3)
        await bind_fair(kit.conn, "small", room=500)
        counts = await claim_one_by_one(kit, 40)
        assert counts[late] == pytest.approx(3 * counts[early], abs=4)

    play(story)


def test_claims_go_by_project_however_many_jobs_each_has_bound_ahead(play) -> None:
    async def story(kit: Kit) -> None:
        await waiting_job(kit, 10, project="heavy")
        await kit.conn.execute(b"update projects set weight = 3 where name = 'heavy'")
        twice = await waiting_job(kit, 2000, project="heavy", weight=2)
        once = await waiting_job(kit, 2000, project="heavy")
        alone = await waiting_job(kit, 2000)
        await bind_fair(kit.conn, "small", room=1200)
        served = await claim_one_by_one(kit, 80)
        assert served[twice] == pytest.approx(40, abs=4)
        assert served[once] == pytest.approx(20, abs=4)
        assert served[alone] == pytest.approx(20, abs=4)

    play(story)


def test_who_joins_its_project_gets_its_share_beside_what_that_has_bound(play) -> None:
    """Until that is sent at the cost of other projects, and then of its own alone."""

    async def story(kit: Kit) -> None:
        early = await waiting_job(kit, 3000, project="busy")
        other = await waiting_job(kit, 3000)
        await bind_fair(kit.conn, "small", room=400)
        late = await waiting_job(kit, 3000, project="busy")
        await bind_fair(kit.conn, "small", room=800)
        served = await claim_one_by_one(kit, 45)
        assert served[late] == pytest.approx(served[early], abs=2)
        assert served[other] == pytest.approx(15, abs=2)
        await bind_fair(kit.conn, "small", room=1200)
        await claim_one_by_one(kit, 45)
        served = await claim_one_by_one(kit, 60)
        assert served[late] == pytest.approx(15, abs=3)
        assert served[early] == pytest.approx(15, abs=3)
        assert served[other] == pytest.approx(30, abs=3)

    play(story)


async def claim_one_by_one(kit: Kit, chunks: int) -> Counter[int]:
    """How many of so many chunks are each job's."""
    claimed = [await claim(kit.conn, "small", owner=kit.owner, room=1) for _ in range(chunks)]
    return Counter(chunk.job_id for ones in claimed for chunk in ones)


def test_a_job_that_would_miss_its_deadline_gets_more_up_to_the_cap(play) -> None:
    async def story(kit: Kit) -> None:
        calm, late, hopeless = [await waiting_job(kit, 1500) for _ in range(3)]
        # At its third of 30 requests a second it would take 150 s.
        soon = b"update jobs set deadline = now() + %s * interval '1 second' where id = %s"
        await kit.conn.execute(soon, (75, late))
        await kit.conn.execute(soon, (1, hopeless))
        served = await serve(kit, room=50, rounds=20, rate=30.0)
        assert served[late] / served[calm] == pytest.approx(1500 / 75 / 10, rel=0.25)
        assert 6 < served[hopeless] / served[calm] <= 9

    play(story)


def test_a_deadline_takes_no_more_than_twice_its_projects_share_from_others(play) -> None:
    async def story(kit: Kit) -> None:
        calm = await waiting_job(kit, 2000)
        hasty = await waiting_job(kit, 2000, project="hasty")
        await kit.conn.execute(b"update jobs set deadline = now() where id = %s", (hasty,))
        served = await serve(kit, room=30, rounds=40, rate=10.0)
        assert served[hasty] / served[calm] == pytest.approx(2, rel=0.1)

    play(story)


def test_what_cannot_go_anywhere_does_not_hide_what_comes_behind_it(play) -> None:
    """Only the jobs whose turn comes next are looked at; many of them may have to stay."""

    async def story(kit: Kit) -> None:
        stuck = [await waiting_job(kit, 300, size=100) for _ in range(12)]
        given_up = b"update chunks set excluded = 1, candidate = 1 where job_id = any(%s)"
        await kit.conn.execute(given_up, (stuck,))
        behind = await waiting_job(kit, 50)
        assert await serve(kit, room=20, rounds=1) == {behind: 20}

    play(story)


def test_whose_chunks_are_gone_is_forgotten_when_its_turn_comes(play) -> None:
    async def story(kit: Kit) -> None:
        moved = await waiting_job(kit, 500)
        stays = await waiting_job(kit, 500)
        await serve(kit, room=40, rounds=1)
        leave = b"update chunks set status = 'leased' where job_id = %s and status = 'planned'"
        await kit.conn.execute(leave, (moved,))
        served = await serve(kit, room=40, rounds=2)
        assert served == {stays: 80}
        assert await kit.rows("select job_id from turns where job_id > 0") == [(stays,)]
        # It comes back as a newcomer, that has saved nothing up.
        back = b"update chunks set status = 'planned' where job_id = %s and owner is null"
        await kit.conn.execute(back, (moved,))
        served = await serve(kit, room=40, rounds=2)
        assert abs(served[moved] - served[stays]) <= 20

    play(story)


def test_who_does_not_wait_any_more_is_forgotten(play) -> None:
    async def story(kit: Kit) -> None:
        await waiting_job(kit, 30)
        stopped = await waiting_job(kit, 500)
        third = await waiting_job(kit, 500, project="other")
        await bind_fair(kit.conn, "small", room=100)
        await kit.conn.execute(b"update jobs set stop = 'cancelled' where id = %s", (stopped,))
        await bind_fair(kit.conn, "small", room=10)
        assert await kit.rows("select job_id from turns where job_id > 0") == [(third,)]
        projects = "select project_id from turns where job_id = 0 and project_id > 0"
        assert len(await kit.rows(projects)) == 1

    play(story)


def test_a_lane_with_a_backlog_claims_only_what_comes_before_it(play) -> None:
    async def story(kit: Kit) -> None:
        large = await waiting_job(kit, 500)
        await bind_fair(kit.conn, "small", room=500)
        [first] = await claim(kit.conn, "small", owner=kit.owner, room=1)
        [head] = await claim(kit.conn, "small", owner=kit.owner, room=1)
        assert first.job_id == head.job_id == large
        early = {"owner": kit.owner, "room": 200, "before": head.turn}
        assert await claim(kit.conn, "small", **early) == []
        small = await waiting_job(kit, 5, project="other")
        await bind_fair(kit.conn, "small", room=10)
        assert [chunk.job_id for chunk in await claim(kit.conn, "small", **early)] == [small]

    play(story)
