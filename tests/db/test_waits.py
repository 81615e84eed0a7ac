"""What a job is said to wait for: the true brake, whichever it is."""

from dataclasses import replace
from typing import Any

import pytest

from core.brake import Limit
from core.status import Back
from db.brakes import Braked, put_brakes, read_brakes
from db.lifecycle import set_paused
from db.stories import request_story
from db.vitals import Vital
from db.waits import Closed, Standing, Waiting, why
from tests.conftest import Inn
from tests.db.kit import Kit

FACTS = Waiting(
    running=True,
    stop=None,
    paused=False,
    project="search",
    workers=2,
    controls=1,
    lanes=4,
    tickets=0,
    room_nusd=None,
    vitals={"small": Vital("small", in_flight=12, latency_ms=2340.0)},
)


def group(status: str, reason: str = "", due: float = -9.0, **fields: Any) -> Standing:
    known = {"kind": "call", "deployment": "small", "chunks": 1, "unsent": 30, **fields}
    return Standing(status=status, reason=reason, due=due, **known)


def held(what: Limit, most: float = 0.0, scope: str = "small", share: float = 0.9) -> Braked:
    return Braked("small", scope, what, float(most), share)


BOUND, LEASED = group("ready"), group("leased")
BRAKES = {
    "requests": (held(Limit.REQUESTS, 12), "small is at its limit of 12 requests a minute"),
    "tokens": (held(Limit.TOKENS, 9000), "small is at its limit of 9,000 tokens a minute"),
    "output tokens": (
        held(Limit.OUTPUT, 600),
        "small is at its limit of 600 output tokens a minute",
    ),
    "calls at once": (
        held(Limit.CALLS, 4),
        "small is at its limit of 4 calls at once; an answer takes 2.3 s",
    ),
    "a learnt window": (
        held(Limit.WINDOW, 16),
        "small takes 16 calls at once, as far as its answers have shown; an answer takes 2.3 s",
    ),
    "a key": (
        held(Limit.REQUESTS, 600, "key:openai#2"),
        "key 2 of openai is at its limit of 600 requests a minute",
    ),
    "its project": (
        held(Limit.TOKENS, 100, "project:search"),
        "project search is at its limit of 100 tokens a minute",
    ),
    "a 429": (held(Limit.PAUSE), "small was told to slow down (429) and pauses"),
}


@pytest.mark.parametrize("brake", BRAKES)
def test_a_limit_is_told_with_its_scope_and_what_of_it(brake: str) -> None:
    braked, sentence = BRAKES[brake]
    for standing in ((BOUND,), (LEASED,), (group("waiting", Back.LIMITS, due=20),)):
        assert why(replace(FACTS, standing=standing, braked=(braked,))) == sentence


def test_what_holds_others_back_is_not_told() -> None:
    others = (
        held(Limit.TOKENS, 100, "project:another"),
        held(Limit.REQUESTS, 12, share=0.1),
        held(Limit.REQUESTS, 12, "large")._replace(deployment="large"),
    )
    told = why(replace(FACTS, standing=(LEASED,), braked=others))
    assert told == "the answers of small: 12 calls in flight; an answer takes 2.3 s"


def test_only_a_job_that_is_short_of_money_is_said_to_be() -> None:
    rich = replace(FACTS, room_nusd=5 * 10**6)
    assert "budget" not in why(replace(rich, standing=(BOUND, LEASED)))
    short = replace(rich, standing=(group("waiting", Back.BUDGET, due=0.3),))
    assert why(short) == "$0.005 of its budget is free just now"


def test_lanes_and_turns_are_told_where_nothing_else_is_in_the_way() -> None:
    busy = replace(FACTS, lanes=16, tickets=3, standing=(BOUND,))
    assert why(busy) == "30 requests wait for a lane at small (16 at work, 3 queued)"
    assert "lane" not in why(replace(busy, braked=(held(Limit.REQUESTS, 12),)))
    planned = replace(FACTS, standing=(group("planned"),))
    assert why(planned) == "30 requests wait for room at small"
    assert "room" not in why(replace(FACTS, standing=(group("planned"), LEASED)))
    limited = replace(planned, braked=(held(Limit.REQUESTS, 12),))
    assert why(limited).startswith("small is at its limit of 12 requests a minute; ")


def test_a_closed_deployment_says_what_ends_it() -> None:
    for status, drained, end in (
        ("cooling", False, ", back in 30 s"),
        ("cooling", True, "`batchyard deployments resume small` opens it"),
        ("open", True, "deployment small is drained (why)"),
        ("disabled", False, "model or address, then `batchyard deployments resume small`"),
    ):
        closed = Closed(
            deployment="small",
            status=status,
            reason="why",
            reopens=30 if status == "cooling" else None,
            drained=drained,
        )
        told = why(replace(FACTS, standing=(BOUND,), closed=(closed,)))
        assert end in told


def test_brakes_are_those_of_living_processes_and_of_now(inn: Inn) -> None:
    async def story(ctx: Any) -> list[tuple[str, str, float, float]]:
        async with ctx.pool.connection() as conn:
            one, other, dead = [await Kit.open(conn) for _ in range(3)]
            limit = held(Limit.REQUESTS, 12, share=0.3)._replace(ahead=30.0)
            await put_brakes(conn, one.owner, [limit])
            await put_brakes(conn, one.owner, [limit, held(Limit.PAUSE)._replace(ahead=-1.0)])
            await put_brakes(conn, other.owner, [limit._replace(share=0.8)])
            await put_brakes(conn, dead.owner, [held(Limit.TOKENS, 5)._replace(ahead=30.0)])
            await conn.execute(
                b"update processes set lease_until = now() where id = %s", (dead.owner,)
            )
            return [(b.deployment, b.what, b.most, b.share) for b in await read_brakes(conn)]

    assert inn.run(story) == [("small", "requests", 12, pytest.approx(0.8))]


def test_a_request_tells_of_its_jobs_pause_and_of_no_reason_that_is_over(inn: Inn) -> None:
    async def story(ctx: Any) -> tuple[str, str, str]:
        async with ctx.pool.connection() as conn:
            kit = await Kit.open(conn)
            job_id = await kit.job(3, size=3)
            await conn.execute(b"update chunks set status = 'planned', reason = 'budget'")
            await set_paused(conn, job_id, paused=True)
            halted = await request_story(conn, 1, job_id, "request-1")
            await set_paused(conn, job_id, paused=False)
            await kit.bind()
            bound = await request_story(conn, 1, job_id, "request-1")
            assert bound.now is not None
            return halted.why, bound.why, bound.now.reason

    halted, bound, reason = inn.run(story)
    assert halted.startswith("it is paused")
    assert (bound, reason) == ("", "")


def test_when_the_next_try_is_due_is_not_told_of_a_deployment_that_is_closed() -> None:
    waiting = (group("waiting", "throttled", due=38),)
    assert "small, the first in 38 s (" in why(replace(FACTS, standing=waiting))
    cooling = Closed(deployment="small", status="cooling", reason="a 429", reopens=68.0)
    told = why(replace(FACTS, standing=waiting, closed=(cooling,)))
    assert "back in 68 s" in told
    assert "another try at small (its provider said to slow down)" in told


def test_without_a_control_worker_a_job_says_so() -> None:
    told = why(replace(FACTS, controls=0, standing=(group("planned"),)))
    assert told.startswith("no control worker is alive")
    assert why(replace(FACTS, controls=0, workers=0)).startswith("no worker is alive")
