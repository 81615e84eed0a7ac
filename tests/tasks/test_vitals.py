"""What a process says of its deployments, and what dispatch reads of all processes."""

from typing import Any

import pytest

from db.vitals import Vital, put_vitals, read_vitals
from tasks.meters import Meters
from tasks.vitals import FORGET_AFTER, Vitals
from tests.db.kit import Kit


def test_means_follow_the_calls_and_the_rate_ebbs_when_they_end() -> None:
    meters = Meters()
    vitals = Vitals(meters, now=0.0)
    assert vitals.read(2.0) == []
    small = meters.of("small")
    for second in range(2, 62, 2):
        for _ in range(40):
            small.latency.add(300)
            small.output_tokens.add(20)
        small.failed["error", "throttled"] += 100
        small.failed["error", "overloaded"] += 2
        meters.flying["small"] = 7
        [one] = vitals.read(float(second + 2))
    assert (one.in_flight, one.answered, one.failed) == (7, 1200, 60)
    assert one.latency_ms == pytest.approx(300)
    assert one.output_tokens == pytest.approx(20)
    assert one.rate == pytest.approx(21, rel=0.05)
    for _ in range(400):
        small.latency.add(900)
    [slower] = vitals.read(64.0)
    assert slower.latency_ms == pytest.approx(900, rel=0.01)
    [idle] = vitals.read(64.0 + FORGET_AFTER + 1)
    assert (idle.latency_ms, idle.output_tokens) == (None, pytest.approx(20))
    assert idle.rate < 1


def test_a_call_after_a_long_rest_can_be_written_down(inn: Any) -> None:
    meters = Meters()
    vitals = Vitals(meters, now=0.0)
    meters.of("small").latency.add(300)
    for second in range(2, 1802, 2):
        vitals.read(float(second))
    meters.flying["small"] = 1

    async def story(ctx: Any) -> dict[str, Vital]:
        async with ctx.pool.connection() as conn:
            kit = await Kit.open(conn)
            await put_vitals(conn, kit.owner, vitals.read(1804.0))
            return await read_vitals(conn)

    assert inn.run(story)["small"] == Vital("small", 1, 1)


def test_processes_are_summed_and_the_dead_are_not_heard(inn: Any) -> None:
    async def story(ctx: Any) -> dict[str, Vital]:
        async with ctx.pool.connection() as conn:
            busy, calm, dead = [await Kit.open(conn) for _ in range(3)]
            await put_vitals(
                conn,
                busy.owner,
                [Vital("small", 9, 90, 1, 100.0, 10.0, 30.0), Vital("large", 1)],
            )
            await put_vitals(conn, busy.owner, [Vital("small", 8, 95, 1, 100.0, 10.0, 30.0)])
            await put_vitals(conn, calm.owner, [Vital("small", 2, 5, 2, 500.0, None, 10.0)])
            await put_vitals(conn, dead.owner, [Vital("small", 50, 50, 50, 9.0, 9.0, 99.0)])
            await conn.execute(
                b"update processes set lease_until = now() where id = %s", (dead.owner,)
            )
            await put_vitals(conn, 4711, [Vital("small", 1)])
            return await read_vitals(conn)

    found = inn.run(story)
    assert found["small"] == Vital("small", 10, 100, 3, pytest.approx(200), 10.0, 40.0)
    assert found["large"] == Vital("large", 1)
