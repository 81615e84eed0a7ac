"""Linked jobs go through the ordinary machinery, on their parent's account."""

import asyncio
from typing import Any

from core.work import GiveBack
from db.finish import drop_unsent, end_job
from db.lifecycle import stop_job
from db.linked import LinkedKind
from tests.db.kit import BOUND, Kit, answered, connect


def play(database_url: str, scene: Any) -> None:
    async def run() -> None:
        async with await connect(database_url) as conn:
            await scene(await Kit.open(conn))

    asyncio.run(run())


def test_one_hard_stop_holds_over_both(database_url: str) -> None:
    """A limit of seven bounds: the linked job takes three, so that four are left."""

    async def scene(kit: Kit) -> None:
        parent = await kit.job(10, limit=7 * BOUND, bind=False)
        linked = await kit.linked(parent, 3, LinkedKind.PILOT)
        chunks = {chunk.job_id: chunk for chunk in await kit.claim(room=100)}
        sent = await kit.intend(chunks[linked])
        assert len(sent) == 3
        own = await kit.intend(chunks[parent])
        assert len(own) == 4
        await kit.clean()
        await kit.commit(
            [answered(one, cost=BOUND) for one in [*sent, *own]],
            back=[GiveBack(chunks[parent])],
        )
        assert await end_job(kit.conn, linked) == "completed"
        [chunk] = await kit.claim(room=100)
        assert await kit.intend(chunk) == []
        await kit.commit(back=[GiveBack(chunk)])
        assert await end_job(kit.conn, parent) == "budget_exhausted"
        assert await kit.value("select spent_nusd from accounts where kind = 'job'") == 7 * BOUND
        await kit.clean()

    play(database_url, scene)


def test_what_only_serves_a_stopped_job_stops_too(database_url: str) -> None:
    async def scene(kit: Kit) -> None:
        parent = await kit.job(10)
        kinds = (LinkedKind.INTENT, LinkedKind.PILOT, LinkedKind.CLARIFIED)
        linked = {kind: await kit.linked(parent, 3, kind) for kind in kinds}
        await stop_job(kit.conn, parent)
        await drop_unsent(kit.conn)
        stopped = await kit.rows("select id, stop from jobs where stop is not null order by id")
        assert stopped == [
            (parent, "cancelled"),
            (linked[LinkedKind.INTENT], "cancelled"),
            (linked[LinkedKind.PILOT], "cancelled"),
        ]

    play(database_url, scene)


def test_calls_that_tell_intents_are_express(database_url: str) -> None:
    async def scene(kit: Kit) -> None:
        parent = await kit.job(10)
        linked = await kit.linked(parent, 3, LinkedKind.INTENT)
        found = {chunk.job_id: chunk.express for chunk in await kit.claim(room=100)}
        assert found == {parent: False, linked: True}

    play(database_url, scene)
