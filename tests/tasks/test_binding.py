"""Binding on real jobs: policies over several deployments, what is closed, and new bounds."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.deployment import Deployment
from core.money import Price
from core.ports import Buckets
from core.settings import Settings
from core.status import Cause
from db.connect import open_pool
from db.health import disable, park, resume
from db.vitals import Vital, put_vitals
from providers.tokens import count_many
from tasks.bounds import bound_nusd
from tasks.context import Context
from tasks.dispatch import dispatch
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.conftest import DEPLOYMENTS, Bell
from tests.db.kit import Kit

NAMES = ("first", "twin", "dear", "openai")
SMALL = DEPLOYMENTS["small"]
YARD: dict[str, Deployment] = {
    "first": replace(SMALL, name="first"),
    "twin": replace(SMALL, name="twin"),
    "dear": replace(SMALL, name="dear", model="m-70b", price=Price(Decimal(9), Decimal(9))),
    "openai": replace(
        SMALL,
        name="openai",
        model="gpt-5-mini",
        base_url="https://api.openai.com/v1",
        price=Price(Decimal(3), Decimal(4)),
    ),
}


class Yard:
    """A yard without workers and with one route, on a fresh database."""

    def __init__(self, database_url: str, inn: Any) -> None:
        self.database_url = database_url
        self.rows = inn.rows
        self.bell = Bell()
        self.projects: dict[str, dict[str, int]] = {}

    def run(self, work: Callable[[Context], Awaitable[Any]], **rules: Any) -> Any:
        tree = {
            "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
            "deployments": {name: {"provider": "lab", "model": YARD[name].model} for name in NAMES},
            "routes": {"default": {"candidates": ["first"]} | rules},
            "projects": {name: {"limits": limits} for name, limits in self.projects.items()},
        }

        async def inside() -> Any:
            async with open_pool(self.database_url) as pool:
                settings = Settings.model_validate(tree)
                return await work(Context(settings, YARD, pool, self.bell))

        return asyncio.run(inside())

    def plan(
        self, requests: int, *, budget: int | None = None, project: str = "default", **rules: Any
    ) -> int:
        """A job of that many requests, routed."""

        async def work(ctx: Context) -> int:
            lines = [
                {"prompt": f"question {n} " + "x" * n, "max_tokens": 9} for n in range(requests)
            ]
            job = await submit(ctx, lines, SubmitOptions(budget_nusd=budget, project=project))
            while not (await route(ctx, job)).startswith("0 "):
                pass
            return job

        return int(self.run(work, **rules))

    def dispatch(self) -> str:
        return str(self.run(dispatch))

    def close(self, name: str, seconds: float | None = None, cause: Cause = Cause.LIMITS) -> None:
        async def work(ctx: Context) -> None:
            async with ctx.pool.connection() as conn:
                if seconds is None:
                    await disable(conn, [name], cause=Cause.KEY, reason="its key was refused")
                else:
                    await park(conn, [name], cause=cause, reason="429", seconds=seconds)

        self.run(work)

    def open(self, name: str) -> None:
        async def work(ctx: Context) -> None:
            async with ctx.pool.connection() as conn:
                await resume(conn, [name])

        self.run(work)

    def bound(self) -> dict[str, int]:
        return dict(
            self.rows(
                "select deployment, sum(size)::int from chunks"
                " where kind = 'call' and status in ('ready', 'waiting') group by 1"
            )
        )


@pytest.fixture
def yard(database_url: str, inn: Any) -> Yard:
    return Yard(database_url, inn)


def test_spread_uses_both_endpoints_and_says_why(yard: Yard) -> None:
    yard.plan(800, candidates=["first", "twin", "dear"], choose="spread")
    yard.dispatch()
    assert yard.bound() == {"first": 400, "twin": 400}
    choices = [
        json.loads(row[0])
        for row in yard.rows("select choice from chunks where plan_id > 0 order by turn, id")
    ]
    assert {choice["by"] for choice in choices} == {"spread"}
    saw = [choice["saw"] for choice in choices]
    assert all(seen.keys() == {"first", "twin"} for seen in saw)
    assert any(seen["first"] == "room for 400 of 400" for seen in saw)


def test_a_closed_first_choice_is_passed_over_and_what_it_held_goes_on(yard: Yard) -> None:
    yard.plan(600, candidates=["first", "dear"])
    yard.dispatch()
    assert yard.bound() == {"first": 400}
    yard.close("first")
    yard.dispatch()
    assert yard.bound() == {"dear": 400}
    rows = yard.rows("select choice from chunks where status = 'ready'")
    assert all("its key was refused" in json.loads(row[0])["closed"]["first"] for row in rows)
    assert yard.rows("select sum(excluded)::int from chunks") == [(0,)]
    yard.open("first")
    yard.dispatch()
    assert yard.bound() == {"first": 400}
    rows = yard.rows("select choice from chunks where status = 'ready'")
    assert all("closed" not in json.loads(row[0]) for row in rows)


def test_what_was_bound_elsewhere_for_other_reasons_stays_when_one_opens(yard: Yard) -> None:
    yard.plan(600, candidates=["dear"])
    yard.dispatch()
    yard.close("first")
    yard.plan(300, candidates=["first", "twin"])
    yard.dispatch()
    assert yard.bound() == {"dear": 400, "twin": 300}
    yard.open("first")
    yard.dispatch()
    assert yard.bound() == {"dear": 400, "first": 300}


def test_a_pause_that_has_passed_gives_back_what_others_have_not_sent(yard: Yard) -> None:
    yard.plan(300, candidates=["first", "dear"])
    yard.close("first", seconds=30.0)
    yard.dispatch()
    assert yard.bound() == {"dear": 300}
    yard.rows("update deployment_state set until = now() returning 1")
    yard.dispatch()
    assert yard.bound() == {"first": 300}


def test_a_pause_of_a_moment_moves_nothing(yard: Yard) -> None:
    yard.plan(600, candidates=["first", "dear"])
    yard.dispatch()
    yard.close("first", seconds=3.0)
    yard.dispatch()
    assert yard.bound() == {"first": 400}


def test_a_server_that_is_away_is_not_waited_for_however_soon_the_next_look(yard: Yard) -> None:
    yard.plan(600, candidates=["first", "dear"])
    yard.dispatch()
    yard.close("first", seconds=3.0, cause=Cause.UNREACHABLE)
    yard.dispatch()
    assert yard.bound() == {"dear": 400}


def test_where_nobody_is_open_work_stays_where_it_is(yard: Yard) -> None:
    yard.plan(600, candidates=["first", "dear"])
    yard.dispatch()
    for name in ("first", "dear"):
        yard.close(name)
    yard.dispatch()
    assert yard.bound() == {"first": 400}


def test_what_waits_for_a_closed_deployment_does_not_stand_in_the_way(yard: Yard) -> None:
    # The same job, the same first candidate: most of it has no other.
    yard.plan(3000, candidates=["first"])
    both = yard.plan(800, candidates=["first", "dear"])
    yard.rows("update chunks set job_id = %s where kind = 'call'", both)
    yard.close("first")
    yard.dispatch()
    assert yard.bound() == {"dear": 400}


def test_thousands_that_cannot_go_elsewhere_hide_nothing_that_can(yard: Yard) -> None:
    columns = yard.rows(
        "select string_agg(quote_ident(column_name), ', ') from information_schema.columns"
        " where table_name = 'chunks' and column_name <> 'id'"
    )[0][0]
    yard.plan(1, candidates=["first"])
    yard.dispatch()
    yard.rows(
        f"insert into chunks ({columns}) select {columns} from chunks, generate_series(1, 2100)"
        " where status = 'ready' and kind = 'call' returning 1"
    )
    yard.plan(1, candidates=["first", "dear"])
    yard.rows("update chunks set status = 'ready' where status = 'planned' returning 1")
    yard.close("first")
    yard.dispatch()
    assert yard.bound() == {"first": 2101, "dear": 1}


def test_bounds_are_those_of_the_deployment_it_goes_to(yard: Yard) -> None:
    job = yard.plan(40, candidates=["first", "openai"], budget=10**9)
    yard.close("first")
    yard.dispatch()
    ((seqs, bounds, candidate),) = yard.rows(
        "select seqs, bounds, candidate from chunks where status = 'ready'"
    )
    bodies = dict(yard.rows("select seq, body from requests where job_id = %s", job))
    counted = count_many([bodies[seq].encode() for seq in seqs])
    sizes = [one.size(4096) for one in counted]
    assert bounds == [bound_nusd(size, YARD["openai"], limited=True) for size in sizes]
    assert candidate == 1


def test_who_has_given_up_is_not_chosen_again(yard: Yard) -> None:
    yard.plan(200, candidates=["first", "twin", "dear"], choose="least_busy")
    yard.rows("update chunks set excluded = 3 where kind = 'call' and status = 'planned'")
    yard.dispatch()
    assert yard.bound() == {"dear": 200}


@pytest.mark.parametrize(
    ("policy", "expected"), [("cheapest", "dear"), ("fastest", "twin"), ("ordered", "first")]
)
def test_policies_go_by_what_was_seen_lately(yard: Yard, policy: str, expected: str) -> None:
    async def live(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            seen = [
                Vital("first", 0, 9, 0, 900.0, 200.0, 5.0),
                Vital("twin", 0, 9, 0, 80.0, 200.0, 5.0),
                # Nine times as dear, and its answers are hundreds of times as short.
                Vital("dear", 0, 9, 0, 500.0, 0.5, 5.0),
            ]
            await put_vitals(conn, (await Kit.open(conn)).owner, seen)

    yard.run(live)
    lines = [{"prompt": "hi", "max_tokens": 500}] * 150

    async def work(ctx: Context) -> None:
        job = await submit(ctx, lines, SubmitOptions())
        await route(ctx, job)

    yard.run(work, candidates=["first", "twin", "dear"], choose=policy)
    yard.dispatch()
    assert yard.bound() == {expected: 150}


def test_two_dispatches_bind_nothing_twice(yard: Yard) -> None:
    yard.plan(400, candidates=["first", "dear"])

    async def both(ctx: Context) -> list[str]:
        return [*await asyncio.gather(*(dispatch(ctx) for _ in range(4)))]

    told = yard.run(both)
    assert sum(text.startswith("2 chunks bound") for text in told) == 1
    assert yard.bound() == {"first": 400}
    assert sum(step == "call" for step, _ in yard.bell.rung) == 2


def test_a_small_job_is_shared_by_the_weights_of_its_route(yard: Yard) -> None:
    yard.plan(100, candidates=["first", "dear"], choose="weighted", weights={"first": 1, "dear": 3})
    yard.dispatch()
    assert yard.bound() == {"first": 25, "dear": 75}
    # Cut, and not a request lost, doubled, or parted from what belongs to it.
    rows = yard.rows(
        "select seqs, text_bytes, cardinality(bounds), size from chunks where status = 'ready'"
    )
    assert sorted(seq for seqs, *_ in rows for seq in seqs) == list(range(100))
    lengths = [n for _, n in sorted(p for row in rows for p in zip(row[0], row[1], strict=True))]
    assert lengths == sorted(lengths)
    assert all(len(seqs) == bounds == size for seqs, _, bounds, size in rows)


def test_forty_requests_use_every_key_and_endpoint_that_they_are_spread_over(yard: Yard) -> None:
    yard.plan(40, candidates=["first", "twin"], choose="spread")
    yard.dispatch()
    assert yard.bound() == {"first": 20, "twin": 20}


def test_a_slow_limit_gets_half_a_minute_of_a_chunk_and_the_rest_stays_free(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(YARD["first"], buckets=Buckets("first", 12, None, None))
    monkeypatch.setitem(YARD, "first", slow)
    yard.plan(150, candidates=["first", "dear"])
    for _ in range(3):
        yard.dispatch()
    assert yard.bound() == {"first": 6}
    assert yard.rows("select sum(size)::int from chunks where status = 'planned'") == [(144,)]
    assert yard.rows("select seqs from chunks where status = 'ready'") == [([0, 1, 2, 3, 4, 5],)]


def test_what_lanes_hold_of_a_slow_limit_is_counted_and_they_hold_little(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(YARD["first"], buckets=Buckets("first", 600, None, None))
    monkeypatch.setitem(YARD, "first", slow)
    yard.plan(1000, candidates=["first"])
    yard.dispatch()
    assert yard.bound() == {"first": 300}
    assert yard.rows("select max(size) <= 20 from chunks where status = 'ready'") == [(True,)]
    yard.rows("update chunks set status = 'leased' where status = 'ready' returning id")
    yard.dispatch()
    assert yard.bound() == {}
    yard.rows("update chunks set sent = size where status = 'leased' returning id")
    yard.dispatch()
    assert yard.bound() == {"first": 300}


@pytest.mark.parametrize(("choose", "moves"), [("least_busy", True), ("ordered", False)])
def test_who_has_run_out_of_work_takes_over_from_who_is_late(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, choose: str, moves: bool
) -> None:
    slow = replace(YARD["first"], buckets=Buckets("first", 600, None, None))
    monkeypatch.setitem(YARD, "first", slow)
    yard.plan(300, candidates=["first", "dear"], choose=choose)
    yard.close("dear", seconds=600)
    yard.dispatch()
    assert yard.bound() == {"first": 300}
    yard.rows("delete from deployment_state")
    yard.dispatch()
    bound = yard.bound()
    assert sum(bound.values()) == 300
    assert (100 < bound["first"] < 200) is moves
    yard.dispatch()
    assert yard.bound() == bound


def test_a_low_limit_of_tokens_gets_half_a_minute_of_them(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is not the first candidate, and nothing stands there by its plan."""
    for name in ("first", "dear"):
        slow = replace(YARD[name], buckets=Buckets(name, None, 10_000, None), counts_asked=True)
        monkeypatch.setitem(YARD, name, slow)
    lines = [{"prompt": "hi", "max_tokens": 990}] * 150

    async def work(ctx: Context) -> None:
        await route(ctx, await submit(ctx, lines, SubmitOptions()))

    yard.run(work, candidates=["first", "dear"], choose="least_busy")
    for _ in range(3):
        yard.dispatch()
    # About a thousand tokens each, and 5,000 in half a minute.
    assert yard.bound() == {"first": 5, "dear": 5}


def bound_of(yard: Yard, job: int) -> int:
    """Requests of the job that are bound, or that lanes have."""
    query = (
        "select coalesce(sum(size), 0)::int from chunks where job_id = %s and kind = 'call'"
        " and status in ('ready', 'waiting', 'leased')"
    )
    ((requests,),) = yard.rows(query, job)
    return int(requests)


def test_a_project_with_limits_of_its_own_has_half_a_minute_of_them_bound(yard: Yard) -> None:
    """Over all deployments, and as long as lanes hold it; others have the room."""
    yard.projects = {"slow": {"rpm": 60}, "quick": {}}
    slow = yard.plan(600, project="slow", candidates=["first", "dear"], choose="least_busy")
    quick = yard.plan(600, project="quick", candidates=["first"])
    for _ in range(3):
        yard.dispatch()
    assert (bound_of(yard, slow), bound_of(yard, quick)) == (30, 400)
    yard.rows("update chunks set status = 'leased', sent = size where status = 'ready'")
    for _ in range(3):
        yard.dispatch()
    assert (bound_of(yard, slow), bound_of(yard, quick)) == (30, 600)
    # In pieces, so that the next ones are bound before the last of these have their answers.
    yard.rows(
        "update chunks set status = 'done' where id = ("
        "  select min(id) from chunks where job_id = %s and status = 'leased' and kind = 'call')",
        slow,
    )
    assert 0 < bound_of(yard, slow) < 30
    yard.dispatch()
    assert bound_of(yard, slow) == 30


@pytest.mark.parametrize(
    ("limits", "requests"),
    [
        ({"rpm": 1}, 2),
        # A thousand tokens each, as the deployment counts them.
        ({"tpm": 20_000}, 10),
        ({"input_tpm": 160}, 10),
        ({"in_flight": 3}, 120),
        ({"in_flight": 3, "rpm": 60}, 30),
        ({"rpm": 100_000}, 150),
    ],
)
def test_the_narrowest_of_a_projects_limits_counts(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], requests: int
) -> None:
    monkeypatch.setitem(YARD, "first", replace(YARD["first"], counts_asked=True))
    yard.projects = {"slow": limits}
    lines = [{"prompt": "hi", "max_tokens": 990}] * 150

    async def work(ctx: Context) -> int:
        job = await submit(ctx, lines, SubmitOptions(project="slow"))
        await route(ctx, job)
        return job

    job = yard.run(work)
    for _ in range(3):
        yard.dispatch()
    assert bound_of(yard, job) == requests


def test_what_a_slow_deployment_did_not_send_in_a_minute_goes_to_one_with_room(yard: Yard) -> None:
    yard.plan(400, candidates=["first", "dear"], choose="fastest")
    yard.close("dear", seconds=600)
    yard.dispatch()
    assert yard.bound() == {"first": 400}
    yard.rows("delete from deployment_state")
    yard.dispatch()
    assert yard.bound() == {"first": 400}
    yard.rows("update chunks set not_before = now() - interval '61 s' where status = 'ready'")
    yard.dispatch()
    assert yard.bound() == {"dear": 400}


def test_a_request_comes_back_to_who_lives_when_all_that_are_left_to_it_do_not(yard: Yard) -> None:
    yard.plan(20, candidates=["first", "dear"])
    yard.rows(
        "update chunks set excluded = 1, candidate = 1, deployment = 'dear' where kind = 'call'"
    )
    yard.close("dear")
    yard.dispatch()
    # The others may be back in a moment.
    assert yard.bound() == {}
    yard.rows("update chunks set not_before = now() - interval '31 s' where kind = 'call'")
    yard.dispatch()
    assert yard.bound() == {"first": 20}


def test_what_is_bound_to_one_that_died_comes_back_likewise(yard: Yard) -> None:
    yard.plan(20, candidates=["first", "dear"])
    yard.rows(
        "update chunks set excluded = 1, candidate = 1, deployment = 'dear' where kind = 'call'"
    )
    yard.dispatch()
    assert yard.bound() == {"dear": 20}
    yard.close("dear")
    yard.rows("update chunks set not_before = now() - interval '31 s' where kind = 'call'")
    yard.dispatch()
    yard.dispatch()
    assert yard.bound() == {"first": 20}
