"""What one process finds out about a deployment, and how all the others learn of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.deployment import Deployment
from core.status import Cause, DeploymentStatus
from db import health as table
from db.connect import Connection
from db.health import (
    CALM,
    FIRST_COOLING,
    LONGEST_COOLING,
    conditions,
    drain,
    park,
    pause,
    resume,
    trip,
)
from providers.errors import ErrorClass, ProviderError
from tasks.breaker import LEAST_CALLS, REFUSED_KEYS
from tasks.context import Context
from tasks.health import OPEN, PROBES, Health
from tests.conftest import DEPLOYMENTS, Inn

SMALL = DEPLOYMENTS["small"]
LINES = {
    name: replace(SMALL, name=name, model=model, api_key=key, key_number=number, key_count=2)
    for name, model, key, number in (
        ("mini#1", "mini", "env:A", 1),
        ("mini#2", "mini", "env:B", 2),
        ("maxi#1", "maxi", "env:A", 1),
        ("maxi#2", "maxi", "env:B", 2),
    )
}
DOWN = ProviderError(ErrorClass.OVERLOADED, 503, "busy", "no room")
DENIED = ProviderError(ErrorClass.CREDENTIAL_DEAD, 401, "invalid_api_key", "wrong key")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Process:
    """One process' knowledge, and its exchange with the table."""

    def __init__(self, inn: Inn, deployments: dict[str, Deployment] = LINES) -> None:
        self.clock = Clock()
        self.health = Health(deployments, self.clock)
        self._inn = inn

    def see(self, name: str, error: ProviderError | None, times: int = 1, began: float = 0) -> None:
        for _ in range(times):
            self.health.saw(LINES[name], error, began or self.clock())

    def exchange(self) -> None:
        run(self._inn, self.health.exchange)

    def status(self, name: str) -> str:
        return self.health.condition(name).status


def run(inn: Inn, work: Callable[[Connection], Awaitable[Any]]) -> Any:
    async def inside(ctx: Any) -> Any:
        async with ctx.pool.connection() as conn:
            return await work(conn)

    return inn.run(inside)


def let_cooling_end(inn: Inn) -> None:
    inn.rows("update deployment_state set until = now()")


def until(inn: Inn, name: str) -> float:
    ((left,),) = inn.rows(
        "select extract(epoch from until - now())::float8 from deployment_state"
        " where deployment = %s",
        name,
    )
    return float(left)


def test_a_broken_deployment_is_closed_here_at_once_and_elsewhere_with_the_next_look(
    inn: Inn,
) -> None:
    one, other = Process(inn), Process(inn)
    one.see("mini#1", DOWN, LEAST_CALLS)
    assert not one.health.sends("mini#1")
    assert other.health.sends("mini#1")
    with capture_logs() as lines:
        one.exchange()
    other.exchange()
    standing = other.health.condition("mini#1")
    assert (standing.status, standing.cause) == (DeploymentStatus.COOLING, Cause.FAILURES)
    assert "HTTP 503, no room" in standing.reason
    assert other.health.sends("mini#2")
    assert [line["deployment"] for line in lines] == ["mini#1"]
    assert one.health.closings == {("mini#1", "failures"): 1}


def test_after_cooling_a_few_calls_are_tried_and_the_first_answer_opens(inn: Inn) -> None:
    one, other = Process(inn), Process(inn)
    one.see("mini#1", DOWN, LEAST_CALLS)
    one.exchange()
    let_cooling_end(inn)
    one.exchange()
    other.exchange()
    assert one.status("mini#1") == other.status("mini#1") == DeploymentStatus.PROBING
    assert one.health.buckets(LINES["mini#1"]).in_flight == PROBES
    # Calls from before it was closed come in still; they say nothing about now.
    one.clock.now += 5
    one.see("mini#1", DOWN, began=99.0)
    assert one.status("mini#1") == DeploymentStatus.PROBING
    other.clock.now += 5
    other.see("mini#1", None)
    assert other.status("mini#1") == DeploymentStatus.OPEN
    other.exchange()
    one.exchange()
    assert one.health.condition("mini#1") == OPEN
    assert one.health.buckets(LINES["mini#1"]) == LINES["mini#1"].buckets


def test_each_failed_probe_cools_for_longer_up_to_a_limit(inn: Inn) -> None:
    one = Process(inn)
    one.see("mini#1", DOWN, LEAST_CALLS)
    one.exchange()
    waits = [until(inn, "mini#1")]
    for _ in range(7):
        let_cooling_end(inn)
        one.exchange()
        one.clock.now += 1
        one.see("mini#1", DOWN)
        one.exchange()
        assert one.status("mini#1") == DeploymentStatus.COOLING
        waits.append(until(inn, "mini#1"))
    assert FIRST_COOLING * 0.7 < waits[0] <= FIRST_COOLING * 1.2
    assert waits[1] > FIRST_COOLING * 1.2
    assert LONGEST_COOLING * 0.7 < waits[-1] <= LONGEST_COOLING * 1.2


async def _trip(conn: Connection) -> list[str]:
    return await trip(conn, ["mini#1"], cause=Cause.FAILURES, reason="broken", jitter=1.0)


def test_two_that_find_it_broken_close_it_once(inn: Inn) -> None:
    assert run(inn, _trip) == ["mini#1"]
    assert run(inn, _trip) == []
    assert inn.rows("select trips from deployment_state") == [(1,)]


def test_a_calm_time_makes_the_next_cooling_a_first_one(inn: Inn) -> None:
    for _ in range(3):
        run(inn, _trip)
        inn.rows("update deployment_state set status = 'open', until = null")
    assert until_after_trip(inn) > FIRST_COOLING * 2
    inn.rows(
        "update deployment_state set status = 'open', until = null,"
        " updated_at = now() - %s * interval '1 second'",
        CALM + 1,
    )
    assert until_after_trip(inn) <= FIRST_COOLING


def until_after_trip(inn: Inn) -> float:
    run(inn, _trip)
    return until(inn, "mini#1")


def test_a_refused_key_closes_its_lines_and_no_others(inn: Inn) -> None:
    one, other = Process(inn), Process(inn)
    one.see("mini#2", DENIED, REFUSED_KEYS)
    with capture_logs() as lines:
        one.exchange()
    other.exchange()
    shut = {name for name in LINES if not other.health.sends(name)}
    assert shut == {"mini#2", "maxi#2"}
    standing = other.health.condition("maxi#2")
    assert standing.status is DeploymentStatus.DISABLED
    assert standing.reason == ("its key was refused: HTTP 401, wrong key, key 2 of 2 (env:B)")
    assert {line["log_level"] for line in lines} == {"error"}
    let_cooling_end(inn)
    other.exchange()
    assert not other.health.sends("mini#2")


def test_a_403_closes_its_own_line_alone(inn: Inn) -> None:
    one = Process(inn)
    one.see("mini#2", replace(DENIED, status=403), REFUSED_KEYS)
    assert {name for name in LINES if not one.health.sends(name)} == {"mini#2"}


def test_a_used_up_quota_parks_and_is_probed_after_its_reset(inn: Inn) -> None:
    one = Process(inn)
    spent = ProviderError(ErrorClass.QUOTA_DEAD, 429, "insufficient_quota", "pay", 7200.0)
    one.see("mini#1", spent)
    with capture_logs() as lines:
        one.exchange()
    assert [(said["event"], said["seconds"]) for said in lines] == [("deployment cooling", 7200)]
    assert 7100 < until(inn, "mini#1") <= 7200
    assert one.health.condition("mini#1").down
    let_cooling_end(inn)
    one.exchange()
    assert one.status("mini#1") == DeploymentStatus.PROBING


def test_limits_park_without_a_fault_and_open_without_a_probe(inn: Inn) -> None:
    one = Process(inn)
    one.health.park("mini#1", 60.0, "its limits give no permit for 60 s")
    assert not one.health.sends("mini#1")
    assert not one.health.condition("mini#1").down
    one.exchange()
    let_cooling_end(inn)
    one.exchange()
    assert one.health.condition("mini#1") == OPEN


def test_nothing_overrides_an_operators_pause(inn: Inn) -> None:
    one = Process(inn)
    run(inn, lambda conn: pause(conn, ["mini#1"]))
    one.see("mini#1", DENIED, REFUSED_KEYS)
    one.exchange()
    assert one.status("mini#1") == DeploymentStatus.PAUSED
    assert not one.health.sends("mini#1")
    assert not one.health.condition("mini#1").binds
    assert run(inn, lambda conn: resume(conn, ["mini#1", "mini#2"])) == ["mini#1"]
    one.exchange()
    assert one.health.condition("mini#1") == OPEN


def test_one_that_is_drained_may_break_as_any_other_and_stays_drained(inn: Inn) -> None:
    one, other = Process(inn), Process(inn)
    run(inn, lambda conn: drain(conn, ["mini#1"]))
    one.exchange()
    standing = one.health.condition("mini#1")
    assert (standing.shown, standing.sends, standing.binds, standing.down) == (
        DeploymentStatus.DRAINED,
        True,
        False,
        False,
    )
    one.clock.now += 5
    one.see("mini#1", DOWN, LEAST_CALLS)
    # Here at once, and for all with the next exchange.
    assert one.health.condition("mini#1").down
    one.exchange()
    other.exchange()
    standing = other.health.condition("mini#1")
    assert (standing.shown, standing.sends, standing.down) == (
        DeploymentStatus.COOLING,
        False,
        True,
    )
    assert standing.told.endswith(", and drained")
    let_cooling_end(inn)
    one.exchange()
    one.clock.now += 5
    one.see("mini#1", None)
    for process in (one, other):
        process.exchange()
        standing = process.health.condition("mini#1")
        assert (standing.shown, standing.binds) == (DeploymentStatus.DRAINED, False)
    assert run(inn, lambda conn: resume(conn, ["mini#1"])) == ["mini#1"]
    one.exchange()
    assert one.health.condition("mini#1") == OPEN


def test_drained_after_a_pause_it_sends_again(inn: Inn) -> None:
    one = Process(inn)
    run(inn, lambda conn: pause(conn, ["mini#1"]))
    run(inn, lambda conn: drain(conn, ["mini#1"]))
    one.exchange()
    assert one.health.sends("mini#1")
    assert not one.health.condition("mini#1").binds


def test_what_an_operator_opens_early_has_its_pause_lifted(inn: Inn) -> None:
    lifted: list[str] = []

    class Pauses:
        async def lift(self, key: str) -> None:
            lifted.append(key)

    one = Process(inn)
    one.health.park("mini#1", 86_400.0, "no permit for a day")
    one.health.park("mini#2", 1.0, "no permit for a second")
    one.exchange()
    run(inn, lambda conn: resume(conn, ["mini#1", "mini#2"]))

    async def keep(ctx: Any) -> None:
        keeping = asyncio.create_task(one.health.keep(ctx.pool, Pauses()))
        while not one.health.sends("mini#1") or not lifted:
            await asyncio.sleep(0.01)
        keeping.cancel()

    inn.run(lambda ctx: asyncio.wait_for(keep(ctx), 60))
    assert lifted == ["mini#1"]


def test_a_longer_pause_is_not_cut_short(inn: Inn) -> None:
    async def twice(conn: Connection) -> None:
        for seconds in (600.0, 60.0):
            await park(conn, ["mini#1"], cause=Cause.LIMITS, reason="429", seconds=seconds)
        await trip(conn, ["mini#1"], cause=Cause.THROTTLED, reason="only 429s", jitter=1.0)

    run(inn, twice)
    assert until(inn, "mini#1") > 590
    ((cause,),) = inn.rows("select cause from deployment_state")
    assert cause == Cause.THROTTLED


def test_a_look_waits_for_nobody_who_has_just_ended_a_cooling(inn: Inn) -> None:
    async def both(ctx: Context) -> None:
        async with ctx.pool.connection() as slow, ctx.pool.connection() as quick:
            await park(slow, ["mini#1"], cause=Cause.LIMITS, reason="slow", seconds=0.0)
            async with slow.transaction():
                assert "mini#1" not in await conditions(slow)
                async with asyncio.timeout(5):
                    assert not (await conditions(quick))["mini#1"].sends
            assert "mini#1" not in await conditions(quick)

    inn.run(both)


def test_what_was_not_written_is_said_again(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Process(inn)
    one.see("mini#1", DOWN, LEAST_CALLS)

    async def lost(*args: Any, **options: Any) -> list[str]:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("tasks.health.trip", lost)
        with pytest.raises(ConnectionError):
            one.exchange()
    one.exchange()
    assert set(run(inn, conditions)) == {"mini#1"}


def test_who_sleeps_is_woken_by_a_closing() -> None:
    async def story() -> bool:
        health = Health(LINES)
        napping = asyncio.create_task(health.nap(600))
        await asyncio.sleep(0)
        health.park("mini#1", 60.0, "no permit")
        await asyncio.wait_for(napping, 30)
        return napping.done()

    assert asyncio.run(story())


def test_a_check_falls_to_one_process_at_a_time(inn: Inn) -> None:
    async def ask(conn: Connection) -> list[bool]:
        return [await table.due_check(conn, "lab", 10.0) for _ in range(3)]

    assert run(inn, ask) == [True, False, False]
    inn.rows("update provider_checks set checked_at = now() - interval '11 seconds'")
    assert run(inn, ask) == [True, False, False]

    async def fail(conn: Connection) -> list[int]:
        return [await table.checked(conn, "lab", ok=ok) for ok in (False, False, True)]

    assert run(inn, fail) == [1, 2, 0]
