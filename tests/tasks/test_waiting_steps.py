"""Cascades whose next candidate is closed do not wait without end."""

from typing import Any

import pytest

from core.cascade import Cascade
from core.plan import Plan
from core.work import GiveBack
from db.finish import end_job
from tasks.sweep import sweep
from tasks.yard import Yard
from tests.db import kit as kits
from tests.db.kit import Kit, again, answered, escalated
from tests.tasks.test_sweep import Inn, inn

__all__ = ("inn",)

PLAN = Plan("smart", ("small", "large"), 100, 6, choose="cascade", cascade=Cascade("learned"))


@pytest.fixture(autouse=True)
def cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kits, "PLAN", PLAN)


async def first_steps(kit: Kit, **large: Any) -> int:
    """A job of four: one is answered, two are escalated, one has failed at `small`; `large`
    stands as told, and all have waited for it for a minute."""
    job = await kit.job(4)
    [chunk] = await kit.claim()
    sent = await kit.intend(chunk)
    ended = [answered(sent[0]), *map(escalated, sent[1:3]), again(sent[3], candidate=1)]
    await kit.commit(ended, back=[GiveBack(chunk)])
    await kit.conn.execute(
        b"insert into deployment_state (deployment, status, cause, reason, until)"
        b" values ('large', %(status)s, 'failures', '', now() + %(left)s * interval '1 second')",
        large,
    )
    await kit.conn.execute(b"update chunks set not_before = now() - interval '1 minute'")
    return job


def test_the_best_answers_become_results_and_what_has_none_goes_back(inn: Inn) -> None:
    async def story(kit: Kit, _: Kit, yard: Yard) -> None:
        job = await first_steps(kit, status="cooling", left=60)
        await sweep(yard)
        found = await kit.rows(
            "select seq, deployment, status, step::json ->> 'why' from results order by seq"
        )
        closed = "no later candidate could be called"
        assert found == [
            (0, "small", "completed", None),
            (1, "small", "completed", closed),
            (2, "small", "completed", closed),
        ]
        left = await kit.rows("select seqs, excluded from chunks where status <> 'done'")
        assert left == [([3], 0)]
        await kit.clean()
        await kit.run(job)
        await kit.clean()
        assert await end_job(kit.conn, job) is None

    inn.run(story)


def test_what_opens_again_soon_is_waited_for(inn: Inn) -> None:
    async def story(kit: Kit, _: Kit, yard: Yard) -> None:
        await first_steps(kit, status="cooling", left=3)
        await sweep(yard)
        assert await kit.value("select count(*) from results") == 1

    inn.run(story)
