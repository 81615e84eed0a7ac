"""Routing real jobs into planned chunks."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from core.errors import ConfigError, InputError
from core.money import Price
from core.plan import Plan
from core.settings import Settings
from db.planning import put_plan, unrouted_jobs
from tasks.context import Context
from tasks.route import route
from tests.conftest import DEPLOYMENTS


def planned(inn: Any, job_id: int) -> list[tuple[Any, ...]]:
    return list(
        inn.rows(
            "select deployment, size, tokens, bounds from chunks"
            " where job_id = %s and status = 'planned' order by id",
            job_id,
        )
    )


def test_every_request_is_planned_once_in_chunks_of_at_most_200(inn: Any) -> None:
    job_id = inn.submit([{"prompt": f"question {n}"} for n in range(450)])
    inn.run(lambda ctx: route(ctx, job_id))
    chunks = planned(inn, job_id)
    assert [chunk[1] for chunk in chunks] == [200, 200, 50]
    seqs = inn.rows("select unnest(seqs) from chunks where job_id = %s and kind = 'call'", job_id)
    assert sorted(row[0] for row in seqs) == list(range(450))
    assert ("dispatch", ()) in inn.bell.rung


def test_requests_of_different_targets_travel_apart(inn: Any) -> None:
    job_id = inn.submit(
        [{"prompt": "a", "model": "small"}, {"prompt": "b", "model": "no-price"}] * 3
    )
    inn.run(lambda ctx: route(ctx, job_id))
    assert sorted((chunk[0], chunk[1]) for chunk in planned(inn, job_id)) == [
        ("free", 3),
        ("small", 3),
    ]


def test_a_bound_is_never_below_what_the_request_may_cost(inn: Any) -> None:
    """1 and 2 dollars per million tokens: a byte is at most a token, so at least that."""
    job_id = inn.submit([{"prompt": "x" * 1000, "max_tokens": 50}])
    inn.run(lambda ctx: route(ctx, job_id))
    ((_, _, (tokens,), (bound,)),) = planned(inn, job_id)
    assert tokens < 1000
    assert bound >= 1000 * 1000 + 50 * 2000


def test_what_has_no_bound_is_refused_under_a_budget_and_called_without_one(inn: Any) -> None:
    part = {"type": "file", "file": {"file_id": "file-elsewhere"}}
    lines = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "sum up"}, part]}]},
        {"prompt": "plain"},
    ]
    limited = inn.submit(lines, budget_nusd=10**9)
    inn.run(lambda ctx: route(ctx, limited))
    assert [chunk[1] for chunk in planned(inn, limited)] == [1]
    ((seq, status, error),) = inn.rows(
        "select seq, status, error from results where job_id = %s", limited
    )
    assert (seq, status) == (0, "failed")
    assert "no upper bound" in error
    free = inn.submit(lines)
    inn.run(lambda ctx: route(ctx, free))
    assert sum(chunk[1] for chunk in planned(inn, free)) == 2


def test_routing_twice_plans_nothing_twice(inn: Any) -> None:
    job_id = inn.submit([{"prompt": "once"}])
    inn.run(lambda ctx: route(ctx, job_id))
    inn.run(lambda ctx: route(ctx, job_id))
    assert len(planned(inn, job_id)) == 1


def test_a_step_ends_when_its_time_is_over_and_asks_for_the_next(
    inn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = inn.submit(f"question {n}" for n in range(4500))
    inn.bell.rung.clear()
    monkeypatch.setattr("tasks.route.WORK_SECONDS", 1e-9)
    for routed in (2000, 2000, 500):
        told = inn.run(lambda ctx: route(ctx, job_id))
        assert told == f"{routed:,} requests of job_{job_id} routed"
    assert inn.bell.rung.count(("route", (job_id,))) == 2


def test_a_job_that_is_being_routed_is_not_rung_for_again(inn: Any) -> None:
    job_id = inn.submit(f"question {n}" for n in range(4500))
    other = inn.submit(["waits"])

    async def story(ctx: Context) -> list[list[int]]:
        async with ctx.pool.connection() as one, ctx.pool.connection() as two:
            before = await unrouted_jobs(two)
            async with one.transaction():
                await one.execute(
                    b"select from chunks where job_id = %s order by id limit 1 for update",
                    (job_id,),
                )
                during = await unrouted_jobs(two)
            return [before, during]

    assert inn.run(story) == [[job_id, other], [other]]


def test_a_budget_keeps_to_candidates_of_known_price(inn: Any) -> None:
    job_id = inn.submit([{"prompt": "a"}, {"prompt": "b", "model": "small"}], budget_nusd=10**9)
    inn.rows("update requests set target = 'mixed' where seq = 0")
    inn.rows("update requests set target = 'free' where seq = 1")
    inn.run(lambda ctx: route(ctx, job_id))
    assert [chunk[:2] for chunk in planned(inn, job_id)] == [("small", 1)]
    assert inn.rows("select body->'candidates' from plans") == [(["small"],)]
    ((seq, error),) = inn.rows("select seq, error from results where job_id = %s", job_id)
    assert seq == 1
    assert "price of free" in error


def test_two_steps_make_the_same_plans_in_the_same_order(inn: Any) -> None:
    names = [f"one-{n}" for n in range(30)]
    settings = Settings.model_validate(
        {
            "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
            "deployments": {name: {"provider": "lab", "model": name} for name in names},
            "routes": {"default": {"candidates": names}},
        }
    )
    deployments = {name: replace(DEPLOYMENTS["small"], name=name) for name in names}
    jobs = [inn.submit(["x"] * 30), inn.submit(["x"] * 30)]
    for job_id, order in zip(jobs, (names, names[::-1]), strict=True):
        for seq, name in enumerate(order):
            inn.rows(
                "update requests set target = %s where job_id = %s and seq = %s", name, job_id, seq
            )

    made: dict[int, list[str]] = {}

    async def noted(conn: Any, plan: Plan) -> int:
        made.setdefault(id(conn), []).append(plan.digest())
        return await put_plan(conn, plan)

    async def story(ctx: Context) -> None:
        own = replace(ctx, settings=settings, deployments=deployments)
        await asyncio.gather(*(route(own, job_id) for job_id in jobs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.route.put_plan", noted)
        inn.run(story)
    assert [len(one) for one in made.values()] == [30, 30]
    assert all(one == sorted(one) for one in made.values())
    assert inn.rows("select count(*) from plans") == [(30,)]
    for job_id in jobs:
        assert len(planned(inn, job_id)) == 30


def plans(inn: Any, job_id: int) -> list[dict[str, Any]]:
    return [
        row[0]
        for row in inn.rows(
            "select p.body from chunks c join plans p on p.id = c.plan_id"
            " where job_id = %s order by c.seqs[1]",
            job_id,
        )
    ]


def test_a_requests_own_fallbacks_come_after_its_targets(inn: Any) -> None:
    job_id = inn.submit(
        [
            {"prompt": "a", "fallbacks": ["no-price", "small"], "timeout": 5},
            {"prompt": "b", "model": "free", "fallbacks": ["mixed"]},
            {"prompt": "c"},
        ]
    )
    inn.run(lambda ctx: route(ctx, job_id))
    told = [(p["candidates"], p["fallbacks"], p["timeout"]) for p in plans(inn, job_id)]
    assert told == [
        (["small", "free"], 1, 5.0),
        (["free", "small"], 1, None),
        (["small"], 0, None),
    ]


def test_under_a_budget_a_fallback_needs_a_price(inn: Any) -> None:
    with pytest.raises(ConfigError, match=r"deployments\.free\.price"):
        inn.submit([{"prompt": "a", "fallbacks": ["free"]}], budget_nusd=10**9)
    with pytest.raises(InputError, match=r"fallbacks\[0\].*Did you mean 'small'"):
        inn.submit([{"prompt": "a", "fallbacks": ["smal"]}])


def test_a_schema_that_cannot_be_used_is_refused_before_anything_is_paid(inn: Any) -> None:
    checks = {"json_schema": "request"}
    settings = Settings.model_validate(
        {
            **inn.settings.model_dump(),
            "routes": {"default": {"candidates": ["small"], "checks": checks}},
        }
    )

    def asking(schema: dict[str, Any]) -> dict[str, Any]:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        return {"prompt": "a", "response_format": wanted}

    job_id = inn.submit([asking({"type": "nonsense"}), asking({"type": "object"}), {"prompt": "b"}])
    inn.run(lambda ctx: route(replace(ctx, settings=settings), job_id))
    ((seq, error),) = inn.rows("select seq, error from results where job_id = %s", job_id)
    assert seq == 0
    assert "its schema cannot be used" in error
    assert [p["checks"]["schema"] for p in plans(inn, job_id)] == ["request"]


SMALL = DEPLOYMENTS["small"]
DEAR = replace(SMALL, name="dear", price=Price(Decimal(100), Decimal(200)))


def test_what_costs_more_than_the_whole_budget_by_itself_fails_alone(inn: Any) -> None:
    lines = [{"prompt": "a", "max_tokens": 10}, {"prompt": "b", "max_tokens": 1_000_000}]
    job_id = inn.submit(lines, budget_nusd=10**9)
    inn.run(lambda ctx: route(ctx, job_id))
    assert [chunk[:2] for chunk in planned(inn, job_id)] == [("small", 1)]
    ((seq, error),) = inn.rows("select seq, error from results where job_id = %s", job_id)
    assert seq == 1
    assert "alone may cost $2.00 at small, for up to 1,000,000 tokens of output" in error
    assert "the whole budget is $1.00. Lower its max_tokens" in error


def test_a_candidate_that_alone_would_cost_more_than_the_whole_budget_is_left_out(inn: Any) -> None:
    settings = Settings.model_validate(
        {
            "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
            "deployments": {name: {"provider": "lab", "model": name} for name in ("dear", "small")},
            "routes": {"default": {"candidates": ["dear", "small"]}},
        }
    )
    lines = [{"prompt": "a", "max_tokens": 10}, {"prompt": "b", "max_tokens": 100_000}]
    job_id = inn.submit(lines, budget_nusd=10**9)
    own = {"dear": DEAR, "small": SMALL}
    inn.run(lambda ctx: route(replace(ctx, settings=settings, deployments=own), job_id))
    assert {chunk[:2] for chunk in planned(inn, job_id)} == {("dear", 1), ("small", 1)}
    plans = "select body->'candidates' from plans order by 1"
    assert sorted(row[0] for row in inn.rows(plans)) == [["dear", "small"], ["small"]]
