"""A job as one decision, on real Postgres: routed by a real model, planned wave by wave."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest

from core.money import Price
from core.settings import Settings
from core.work import Entry, GiveBack, Window
from db.audit import audit
from db.connect import Connection
from db.dispatch import Binding, bind
from db.finish import drop_unsent, end_job
from db.lease import claim
from db.processes import register
from db.router_models import promote, put_model
from db.waves import job_waves, plan_job
from routing.models.file import dump
from routing.training.choice import train_choice
from tasks.context import Context
from tasks.lifecycle import cancel, delete, pause
from tasks.plan import plan, ring_plans
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.conftest import DEPLOYMENTS, deployment
from tests.db.kit import Kit, answered
from tests.routing.judged import judged

MODEL = train_choice(judged(600), ["topic"])
LINES = judged(120, seed=1)
LARGE = deployment("large", "my-70b", Price(Decimal(10), Decimal(20)))
YARD = {"small": DEPLOYMENTS["small"], "large": LARGE}
PLANNED = "status = 'planned' and kind = 'plan'"


def settings(**router: Any) -> Settings:
    return Settings.model_validate(
        {
            "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
            "deployments": {name: {"provider": "lab", "model": name} for name in YARD},
            "routes": {
                "smart": {
                    "candidates": ["small", "large"],
                    "choose": "optimize",
                    "router": {"model": "tickets", **router},
                    "max_output": 100,
                }
            },
        }
    )


@pytest.fixture(autouse=True)
def model(inn: Any) -> None:
    """A promoted model of small and large."""
    inn.submit(["a"])
    info = {**MODEL.info, "candidates": list(MODEL.candidates)}
    inn.ask(put_model, "tickets", "choice", dump(MODEL), info)
    inn.ask(promote, "tickets", 1)


def routed(inn: Any, config: Settings | None = None, **options: Any) -> int:
    lines = [
        {"prompt": prompt, "metadata": tags, "model": "smart"}
        for prompt, tags in zip(LINES.prompts, LINES.metadata, strict=True)
    ]

    async def story(ctx: Context) -> int:
        own = at(ctx, config)
        job = await submit(own, lines, SubmitOptions(**options))
        await route(own, job)
        return job

    return int(inn.run(story))


def at(ctx: Context, config: Settings | None = None) -> Context:
    return replace(ctx, settings=config or settings(), deployments=YARD)


def planned(inn: Any, job: int, config: Settings | None = None) -> str:
    return str(inn.run(lambda ctx: plan(at(ctx, config), job)))


def waves(inn: Any, job: int) -> list[dict[str, Any]]:
    async def read(conn: Connection, _: int) -> list[dict[str, Any]]:
        return [one.body for one in await job_waves(conn, job)]

    return list(inn.ask(read))


class Desk:
    """Answers what is planned, as a call worker would: claims, intends, commits."""

    def __init__(self, conn: Connection, owner: int) -> None:
        self._conn = conn
        self._owner = owner
        self._numbers = count(1)

    async def answer(self, cost: Callable[[Entry], int]) -> int:
        """All that is out; how many calls."""
        kit = Kit(self._conn, self._owner)
        kit.numbers = self._numbers
        calls = 0
        await self._bind()
        for name in YARD:
            for chunk in await claim(self._conn, name, owner=self._owner, room=10_000):
                while chunk.sent < chunk.size:
                    sent = await kit.intend(chunk, 64)
                    assert sent, "its money was promised and is not there"
                    await kit.commit([answered(one, cost(one)) for one in sent])
                    calls += len(sent)
        return calls

    async def _bind(self) -> None:
        rows = await self._conn.execute(
            b"select id, candidate, deployment from chunks"
            b" where status = 'planned' and kind = 'call' order by id"
        )
        await bind(self._conn, [Binding(*row, "", 1.0) for row in await rows.fetchall()])


def run(
    inn: Any,
    job: int,
    cost: Callable[[Entry], int],
    config: Settings | None = None,
    *,
    turns: int | None = None,
) -> int:
    """Plans and answers, turn by turn, so many or until the job has ended; how many calls."""

    async def story(ctx: Context) -> int:
        calls = 0
        async with ctx.pool.connection() as conn:
            owner = await register(conn, kind="worker", host="test", pid=1, lease=60.0)
            desk = Desk(conn, owner)
            for _ in range(turns or 300):
                await plan(at(ctx, config), job)
                calls += await desk.answer(cost)
                if await end_job(conn, job):
                    return calls
        assert turns, "the job does not end"
        return calls

    return int(inn.run(story))


def clean(inn: Any, job: int) -> None:
    assert inn.ask(audit, job).violations == ()


def half(entry: Entry) -> int:
    """Answers are half as long as they may be."""
    return entry.bound // 2


def test_a_budget_is_spent_on_what_it_brings_most_for_and_never_passed(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    assert run(inn, job, half) == 120
    [(status, spent, limit)] = inn.rows(
        "select j.status, a.spent_nusd, a.limit_nusd from jobs j join accounts a"
        " on a.id = j.account_id where j.id = %s",
        job,
    )
    assert (status, limit) == ("completed", 60_000_000)
    assert 0.9 * limit <= spent <= limit
    told = waves(inn, job)
    assert len(told) >= 10
    assert sum(one["requests"] for one in told) == 120
    by_large = sum(one["shares"].get("large", 0) for one in told)
    assert 0 < by_large < 120
    assert all(one["price"] > 0 for one in told[:3])
    clean(inn, job)


def test_what_answers_truly_cost_changes_the_later_waves(inn: Any) -> None:
    cheap = routed(inn, budget_nusd=60_000_000)
    run(inn, cheap, lambda entry: entry.bound // 10)
    dear = routed(inn, budget_nusd=60_000_000)
    run(inn, dear, lambda entry: entry.bound)
    large = [sum(one["shares"].get("large", 0) for one in waves(inn, job)) for job in (cheap, dear)]
    assert large[0] > large[1]
    assert waves(inn, cheap)[-1]["factors"]["large"] < waves(inn, dear)[-1]["factors"]["large"]


def test_without_a_budget_or_an_aim_the_trained_price_holds_and_all_goes_out(inn: Any) -> None:
    job = routed(inn)
    assert planned(inn, job) == f"wave 1 of job_{job}: 120 go out"
    assert inn.rows(f"select count(*) from chunks where job_id = %s and {PLANNED}", job) == [(0,)]
    [told] = waves(inn, job)
    assert set(told["shares"]) == {"small", "large"}
    clean(inn, job)


def test_a_stated_quality_is_reached_for_less_than_the_best_would_cost(inn: Any) -> None:
    config = settings(quality=0.7)
    job = routed(inn, config)
    run(inn, job, half, config)
    told = waves(inn, job)
    mean = sum(one["quality"] * one["requests"] for one in told) / 120
    assert mean == pytest.approx(0.7, abs=0.02)
    assert {name for one in told for name in one["shares"]} == {"small", "large"}


def test_the_chosen_one_stands_first_in_the_plan_and_the_others_behind_it(inn: Any) -> None:
    job = routed(inn)
    planned(inn, job)
    rows = inn.rows(
        "select distinct c.deployment, p.body->'candidates' from chunks c"
        " join plans p on p.id = c.plan_id where c.job_id = %s and c.kind = 'call'",
        job,
    )
    assert sorted(rows) == [("large", ["large", "small"]), ("small", ["small", "large"])]


def test_the_next_wave_is_due_when_little_is_out_and_not_before(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    ring = lambda ctx: ring_plans(at(ctx))  # noqa: E731
    assert inn.run(ring) == 1
    planned(inn, job)
    assert inn.run(ring) == 0
    assert planned(inn, job) == f"job_{job} needs no wave now"
    inn.rows("update chunks set status = 'done' where kind = 'call' and job_id = %s", job)
    assert inn.run(ring) == 1


def test_a_budget_that_buys_nothing_more_ends_the_job_and_keeps_what_it_has(inn: Any) -> None:
    job = routed(inn, budget_nusd=2_000_000)
    calls = run(inn, job, lambda entry: entry.bound)
    assert 0 < calls < 120
    assert inn.rows("select status from jobs where id = %s", job) == [("budget_exhausted",)]
    clean(inn, job)


def test_a_paused_job_is_not_planned_and_a_cancelled_one_is_over(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    inn.run(lambda ctx: pause(ctx, 1, job))
    assert planned(inn, job) == f"job_{job} needs no wave now"
    inn.run(lambda ctx: cancel(ctx, 1, job))
    assert inn.rows("select count(*) from chunks where job_id = %s and status <> 'done'", job) == [
        (0,)
    ]
    clean(inn, job)


def test_two_steps_at_once_promise_the_same_money_once(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    with psycopg.connect(inn.database_url) as other:
        other.execute(f"select id from chunks where job_id = {job} and {PLANNED} for update")
        assert planned(inn, job) == f"somebody else is at work on job_{job}"
    assert waves(inn, job) == []

    async def both(ctx: Context) -> list[str]:
        return await asyncio.gather(*(plan(at(ctx), job) for _ in range(2)))

    told = inn.run(both)
    assert sum("go out" in one for one in told) == 1
    assert len(waves(inn, job)) == 1


def test_a_step_that_dies_in_mid_plan_leaves_everything_as_it_was(inn: Any, monkeypatch) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    inn.rows("alter table waves add constraint no check (wave < 0)")
    with pytest.raises(psycopg.errors.CheckViolation):
        planned(inn, job)
    open_ = "select kind, sum(size) from chunks where job_id = %s and status <> 'done' group by 1"
    assert inn.rows(open_, job) == [("plan", 120)]
    inn.rows("alter table waves drop constraint no")
    assert "go out" in planned(inn, job)
    clean(inn, job)


def test_a_deadline_leaves_no_more_to_one_than_it_can_do(inn: Any) -> None:
    few = replace(LARGE, buckets=replace(LARGE.buckets, rpm=6))
    job = routed(inn, deadline=timedelta(seconds=100))

    async def story(ctx: Context) -> None:
        await plan(replace(at(ctx), deployments={**YARD, "large": few}), job)

    inn.run(story)
    [told] = waves(inn, job)[:1]
    assert told["shares"].get("large", 0) <= 10
    assert told["call_prices"]["large"] > 0


def test_a_job_that_is_cancelled_between_two_waves_can_be_deleted_with_all_of_its_plan(
    inn: Any,
) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    planned(inn, job)
    inn.run(lambda ctx: cancel(ctx, 1, job))
    inn.ask(lambda conn, _: end_job(conn, job))
    assert inn.rows("select status from jobs where id = %s", job) == [("cancelled",)]
    clean(inn, job)
    inn.run(lambda ctx: delete(ctx, 1, job))
    for table in ("waves", "routes", "chunks", "requests"):
        assert inn.rows(f"select count(*) from {table} where job_id = %s", job) == [(0,)], table


def test_a_deadline_that_comes_between_two_waves_ends_the_job_with_what_it_has(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    gone = run(inn, job, half, turns=3)
    assert 0 < gone < 120
    inn.rows("update jobs set deadline = now() where id = %s", job)
    inn.ask(lambda conn, _: drop_unsent(conn))
    assert planned(inn, job) == f"job_{job} needs no wave now"
    assert inn.ask(lambda conn, _: end_job(conn, job)) == "expired"
    facts = inn.ask(audit, job).facts
    assert (facts["completed"], facts["expired"]) == (gone, 120 - gone)
    clean(inn, job)


def too_dear(inn: Any, job: int) -> tuple[Window, list[int]]:
    """What goes to `large` may cost more there than the budget has. The window that was asked for,
    and the requests."""

    async def story(ctx: Context) -> tuple[Window, list[int]]:
        async with ctx.pool.connection() as conn:
            kit = Kit(conn, await register(conn, kind="worker", host="test", pid=1, lease=60.0))
            [(id_, size), *_] = await kit.rows(
                "select id, size from chunks where job_id = %(job)s and kind = 'call'"
                " and status = 'planned' and deployment = 'large' order by id",
                job=job,
            )
            await bind(conn, [Binding(id_, 0, "large", "", 0.0, bounds=[10**12] * size)])
            [chunk] = await claim(conn, "large", owner=kit.owner, room=1)
            window = Window(chunk, 64)
            await kit.commit(windows=[window])
            await kit.commit(back=[GiveBack(chunk, replan=window.replan, drop=window.stopped)])
            return window, chunk.seqs

    found: tuple[Window, list[int]] = inn.run(story)
    return found


def test_what_does_not_fit_at_its_candidate_goes_to_one_that_it_fits(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    planned(inn, job)
    window, seqs = too_dear(inn, job)
    assert (window.granted, window.replan, window.stopped) == (0, True, False)
    clean(inn, job)
    assert run(inn, job, half) == 120
    assert inn.rows("select status from jobs where id = %s", job) == [("completed",)]
    by = "select distinct deployment from results where job_id = %s and seq = any(%s)"
    assert inn.rows(by, job, seqs) == [("small",)]
    told = waves(inn, job)
    assert sum(one["again"]["requests"] for one in told if "again" in one) == len(seqs)
    assert sum(one["requests"] for one in told) == 120 + len(seqs)
    assert inn.ask(lambda conn, _: plan_job(conn, job)).released == 120
    clean(inn, job)


def test_what_fits_nowhere_keeps_no_other_request_from_its_answer(inn: Any) -> None:
    job = routed(inn, budget_nusd=60_000_000)
    planned(inn, job)
    # `small` has given up on them.
    inn.rows("update chunks set excluded = 2 where job_id = %s and kind = 'call'", job)
    window, seqs = too_dear(inn, job)
    assert (window.replan, window.stopped) == (True, False)
    assert run(inn, job, half) == 120 - len(seqs)
    assert inn.rows("select status from jobs where id = %s", job) == [("budget_exhausted",)]
    answered_ = "select count(*) from results where job_id = %s and seq = any(%s)"
    assert inn.rows(answered_, job, seqs) == [(0,)]
    clean(inn, job)


def test_a_candidate_that_the_configuration_has_lost_is_passed_over(inn: Any) -> None:
    job = routed(inn)
    left = {"small": YARD["small"]}
    told = inn.run(lambda ctx: plan(replace(at(ctx), deployments=left), job))
    assert "120 go out" in told
    by = "select distinct deployment from chunks where job_id = %s and kind = 'call'"
    assert inn.rows(by, job) == [("small",)]
