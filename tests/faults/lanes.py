"""Lanes without Celery: real Postgres, real writers, a provider and permits in memory."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from random import Random

from core.deployment import Deployment
from core.money import Price
from core.ports import Ask, Buckets, Grant, HttpCall, HttpReply, Return
from core.settings import Settings
from db.audit import AuditReport, audit
from db.connect import Pool, open_pool
from db.dispatch import issue_tickets
from db.finish import end_job
from db.processes import register
from db.record import Report
from tasks import track
from tasks.calls.attempt import Caller
from tasks.context import Context
from tasks.lane import run_slice
from tasks.record import Writer
from tasks.sweep import sweep
from tasks.yard import Yard
from tests.db.kit import Kit

BOUND = 1_000_000
MOST_OUTPUT = 100
SETTINGS = Settings.model_validate(
    {
        "providers": {"lab": {"kind": "openai", "base_url": "http://lab.invalid/v1"}},
        "deployments": {name: {"provider": "lab", "model": name} for name in ("small", "large")},
        "routes": {"default": {"candidates": ["small", "large"], "max_output": MOST_OUTPUT}},
        "yard": {"slice": 5, "lanes": 64},
    }
)
# A hundred output tokens cost exactly the bound.
PRICE = Price(Decimal(0), Decimal(BOUND * 1_000_000 // MOST_OUTPUT) / 10**9)
DEPLOYMENTS = {
    name: Deployment(
        name=name,
        provider="lab",
        kind="openai",
        base_url="http://lab.invalid/v1",
        model=name,
        timeout=5.0,
        api_key=None,
        buckets=Buckets(name, None, None, None),
        price=PRICE,
        context=None,
    )
    for name in ("small", "large")
}

Answer = Callable[[int], HttpReply]
"""What the provider does with the request of this number."""


def completion(output_tokens: int) -> HttpReply:
    """An answer with this many output tokens."""
    body = {
        "id": "c",
        "model": "small",
        "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": output_tokens},
    }
    return HttpReply(200, {}, json.dumps(body).encode())


class Provider:
    """Answers as it is told, after a moment; counts its calls."""

    def __init__(self, answer: Answer) -> None:
        self.calls = 0
        self.answer = answer
        self._random = Random(7)

    async def send(self, call: HttpCall) -> HttpReply:
        self.calls += 1
        await asyncio.sleep(0.005 * self._random.random())
        return self.answer(int(json.loads(call.body)["messages"][0]["content"]))

    async def close(self) -> None:
        return


class Permits:
    """Gives leave for everything; `breaks` times it fails instead."""

    def __init__(self) -> None:
        self.breaks = 0

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        await asyncio.sleep(0)
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("the limiter has broken down")
        return Grant(len(asks))

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        return

    def hear(self, key: str, headers: Mapping[str, str]) -> None:
        return

    async def pause(
        self, key: str, seconds: float, epoch: int = -1, began: float | None = None
    ) -> None:
        return

    async def hold(self, key: str, longest: float) -> None:
        return

    async def close(self) -> None:
        return


class Silence:
    """A bell that nobody hears."""

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        return


class Lanes:
    """Some call workers in one process, each with its own row and writer."""

    def __init__(self, pool: Pool, kit: Kit, yards: list[Yard]) -> None:
        self.pool = pool
        self.kit = kit
        self.yards = yards

    async def run(self, count: int) -> None:
        """That many lanes at once, spread over the workers; what breaks a lane is let pass."""
        async with self.pool.connection() as conn:
            tickets = await issue_tickets(conn, "lab", count)
        slices = [
            run_slice(self.yards[number % len(self.yards)], "lab", ticket)
            for number, ticket in enumerate(tickets)
        ]
        await asyncio.gather(*slices, return_exceptions=True)

    async def finish(self, job: int, *, lanes: int, rounds: int = 200) -> str:
        """Runs lanes until the job has ended; what waits is made due, what is planned bound. Its
        status."""
        for _ in range(rounds):
            await self.kit.bind()
            await self.run(lanes)
            await sweep(self.yards[0])
            async with self.pool.connection() as conn:
                await conn.execute("update chunks set not_before = now() where status = 'waiting'")
                ended = await end_job(conn, job)
            if ended:
                return str(ended)
        raise AssertionError("the job does not end")

    async def audit(self, job: int | None = None) -> AuditReport:
        async with self.pool.connection() as conn:
            return await audit(conn, 1, job)

    async def account(self, job: int) -> tuple[int, int, int | None]:
        """Spent, reserved and the limit."""
        async with self.pool.connection() as conn:
            cursor = await conn.execute(
                "select a.spent_nusd, a.reserved_nusd, a.limit_nusd from accounts a"
                " join jobs j on j.account_id = a.id where j.id = %s",
                (job,),
            )
            ((spent, reserved, limit),) = await cursor.fetchall()
        return spent, reserved, limit

    async def results(self, job: int) -> dict[str, list[int]]:
        """The numbers of the requests by the status of their result."""
        async with self.pool.connection() as conn:
            cursor = await conn.execute(
                "select status, array_agg(seq order by seq) from results where job_id = %s"
                " group by status",
                (job,),
            )
            return dict(await cursor.fetchall())


@asynccontextmanager
async def open_lanes(
    database_url: str,
    provider: Provider,
    permits: Permits,
    *,
    workers: int,
    claim: int = track.CLAIM,
) -> AsyncIterator[Lanes]:
    """Workers on a migrated database; a lane takes `claim` requests at once, and asks again
    soon when it is short of money."""
    usual = track.SHORT_DELAY, track.CLAIM
    track.SHORT_DELAY, track.CLAIM = 0.02, claim
    try:
        async with AsyncExitStack() as stack:
            pools = [
                await stack.enter_async_context(open_pool(database_url, 6)) for _ in range(workers)
            ]
            yards = [await _worker(stack, pool, provider, permits) for pool in pools]
            conn = await stack.enter_async_context(pools[0].connection())
            yield Lanes(pools[0], await Kit.open(conn, lease=3600), yards)
    finally:
        track.SHORT_DELAY, track.CLAIM = usual


async def _worker(stack: AsyncExitStack, pool: Pool, provider: Provider, permits: Permits) -> Yard:
    async with pool.connection() as conn:
        process = await register(conn, kind="worker", host="test", pid=os.getpid(), lease=3600)
    writer = Writer(pool, process, _nobody)
    stack.push_async_callback(writer.close)
    context = Context(SETTINGS, DEPLOYMENTS, pool, Silence())
    caller = Caller(DEPLOYMENTS, {}, provider, permits)
    return Yard(context, process, writer, caller, asyncio.Event())


async def _nobody(report: Report) -> None:
    return
