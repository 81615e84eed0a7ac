"""Budgets hold, whatever any number of lanes does."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.status import LedgerKind
from core.work import Entry, GiveBack, LeasedChunk, Settled, Window
from db.finish import end_job
from db.ledger import UNLIMITED, Books
from tests.db.kit import (
    PLAN,
    Kit,
    again,
    answered,
    connect,
    entries,
    failed,
    in_doubt,
    take_over,
)

NEVER_MORE = b"""
alter table accounts add constraint never_more
  check (limit_nusd is null or spent_nusd + reserved_nusd <= limit_nusd)
"""


def leased(bounds: list[int], accounts: tuple[int, int] = (1, 2)) -> LeasedChunk:
    size = len(bounds)
    return LeasedChunk(
        id=1,
        fence=1,
        job_id=1,
        part=1,
        round=1,
        plan_id=1,
        plan=PLAN,
        candidate=0,
        deployment="small",
        seqs=list(range(size)),
        tries=[0] * size,
        calls=[0] * size,
        tokens=[1] * size,
        text_bytes=[1] * size,
        overheads=[1] * size,
        outputs=[1] * size,
        bounds=bounds,
        accounts=accounts,
        limited=True,
    )


def moves(books: Books) -> dict[tuple[int, str], int]:
    lines = books.lines()
    keys = zip(lines["accounts"], lines["kinds"], strict=True)  # type: ignore[call-overload]
    return dict(zip(keys, lines["amounts"], strict=True))  # type: ignore[call-overload]


def test_a_window_is_granted_as_far_as_the_tightest_account_reaches() -> None:
    books = Books(7)
    books.know([(1, 100, 50, 1000), (2, 500, 0, None)])
    chunk = leased([300, 300, 300, 10])
    assert books.reserve(Window(chunk, 4)) == 2
    assert moves(books) == {(1, "reserve"): 600, (2, "reserve"): 600}
    # In order, not whatever fits: the cursor cannot skip an entry.
    chunk.sent = 2
    assert books.reserve(Window(chunk, 2)) == 0
    assert not books.hopeless(Window(chunk, 2))


def test_what_this_commit_frees_may_be_reserved_by_it() -> None:
    books = Books(7)
    chunk = leased([300, 300])
    chunk.sent, chunk.open = 1, 1
    books.settle(answered(Entry(chunk, 0, b""), cost=100))
    books.know([(1, 0, 300, 400), (2, 0, 300, UNLIMITED)])
    assert books.reserve(Window(chunk, 1)) == 1
    assert books.totals() == {"ids": [1, 2], "spent": [100, 100], "reserved": [0, 0]}


def test_a_budget_is_hopeless_only_when_nothing_can_come_back() -> None:
    chunk = leased([300])
    spent = Books(7)
    spent.know([(1, 800, 0, 1000), (2, 800, 500, None)])
    assert spent.reserve(Window(chunk, 1)) == 0
    assert spent.hopeless(Window(chunk, 1))
    waiting = Books(7)
    waiting.know([(1, 0, 800, 1000), (2, 0, 800, None)])
    assert waiting.reserve(Window(chunk, 1)) == 0
    assert not waiting.hopeless(Window(chunk, 1))


def test_without_a_limit_everything_is_granted_and_still_booked() -> None:
    books = Books(7)
    chunk = leased([300, 300])
    assert books.reserve(Window(chunk, 2)) == 2
    books.take_back(GiveBack(leased([300, 300])))
    books.adjust(chunk, -50)
    assert moves(books) == {
        (account, kind): amount
        for account in (1, 2)
        for kind, amount in (
            (LedgerKind.RESERVE, 600),
            (LedgerKind.RELEASE, 0),
            (LedgerKind.ADJUST, -50),
        )
    }


@dataclass
class Lane:
    """A process with its chunks and what it has in flight, oldest first."""

    kit: Kit
    chunks: list[LeasedChunk] = field(default_factory=list)
    flying: list[Entry] = field(default_factory=list)

    async def window(self, pick: int, size: int, ended: Settled | None) -> None:
        """The next window of a chunk, in one commit with a reply."""
        if not any(not chunk.done for chunk in self.chunks):
            self.chunks = await self.kit.claim() or await self.kit.claim("large")
        free = [chunk for chunk in self.chunks if not chunk.ended and chunk.sent < chunk.size]
        windows = [Window(free[pick % len(free)], size)] if free else []
        first = windows[0].chunk.sent if windows else 0
        await self.kit.commit([ended] if ended else [], windows)
        for window in windows:
            self.flying += entries(window.chunk, range(first, first + window.granted))
            if window.stopped or window.short:
                await self.kit.commit(back=[GiveBack(window.chunk)])

    def end(self, pick: int, how: int) -> Settled | None:
        """One of the calls in flight comes back."""
        if not self.flying:
            return None
        entry = self.flying.pop(pick % len(self.flying))
        last = entry.chunk.candidate == 1
        outcomes = [
            answered(entry, cost=entry.bound),
            answered(entry, cost=entry.bound // 3),
            failed(entry),
            again(entry, candidate=entry.chunk.candidate),
            again(entry, candidate=1),
            failed(entry) if last else in_doubt(entry),
        ]
        return outcomes[how % len(outcomes)]

    async def give_back(self, pick: int, unsent: int) -> None:
        """A chunk's rest, with the last entries of what was intended."""
        if not self.chunks:
            return
        chunk = self.chunks.pop(pick % len(self.chunks))
        unsent = min(unsent, self._unsent(chunk))
        self.flying = [
            e for e in self.flying if e.chunk is not chunk or e.index < chunk.sent - unsent
        ]
        await self.kit.commit(back=[GiveBack(chunk, unsent=unsent)])

    def _unsent(self, chunk: LeasedChunk) -> int:
        """How many entries before the cursor are in flight without a gap."""
        indexes = {entry.index for entry in self.flying if entry.chunk is chunk}
        count = 0
        while chunk.sent - 1 - count in indexes:
            count += 1
        return count


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["window", "window", "reply", "reply", "reply", "give back", "die"]),
        st.integers(0, 2),
        st.integers(0, 9),
        st.integers(1, 5),
    ),
    min_size=4,
    max_size=14,
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=STEPS,
    bounds=st.lists(st.integers(0, 2000), min_size=12, max_size=12),
    limit=st.integers(1, 15_000),
)
def test_no_course_of_events_overshoots_a_budget(
    database_url: str,
    steps: list[tuple[str, int, int, int]],
    bounds: list[int],
    limit: int,
) -> None:
    asyncio.run(play(database_url, steps, bounds, limit))


async def play(
    database_url: str, steps: list[tuple[str, int, int, int]], bounds: list[int], limit: int
) -> None:
    async with await connect(database_url) as conn:
        await conn.execute(b"alter table accounts drop constraint if exists never_more")
        await conn.execute(NEVER_MORE)
        job_id = await (kit := await Kit.open(conn)).job(12, limit=limit, size=4)
        await conn.execute(
            b"update chunks set bounds = (%s::bigint[])[seqs[1] + 1:seqs[1] + size]"
            b" where job_id = %s and kind = 'call'",
            (bounds, job_id),
        )
        lanes = [Lane(await Kit.open(conn)) for _ in range(3)]
        for step, which, pick, size in steps:
            lane = lanes[which]
            match step:
                case "window":
                    await lane.window(pick, size, None)
                case "reply":
                    await lane.window(pick, size, lane.end(pick, size + pick))
                case "give back":
                    await lane.give_back(pick, size)
                case _:
                    await take_over(kit, dead=lane.kit.owner)
            assert (await kit.audit(job_id)).violations == ()
        await finish(kit, lanes, job_id)
        report = await kit.audit(job_id)
        assert report.violations == ()
        assert report.facts["reserved_nusd"] == report.facts["open"] == 0
        assert report.facts["spent_nusd"] <= limit


async def finish(kit: Kit, lanes: list[Lane], job_id: int) -> None:
    """Every lane dies, another process does the rest, and the replies come late."""
    for lane in lanes:
        await take_over(kit, dead=lane.kit.owner)
    await kit.run(job_id)
    for lane in lanes:
        await lane.kit.commit([answered(e, cost=e.bound // 2) for e in lane.flying])


def test_many_lanes_use_a_small_budget_up_and_never_more(database_url: str) -> None:
    """Postgres itself refuses every commit that would overshoot."""
    bound, cost, limit = 1000, 550, 200_000

    async def lane(job_id: int) -> None:
        async with await connect(database_url) as conn:
            kit = await Kit.open(conn)
            while not await kit.value(
                "select stop is not null from jobs where id = %(i)s", i=job_id
            ):
                windows = [Window(chunk, 4) for chunk in await kit.claim(room=4)]
                await kit.commit(windows=windows)
                sent = [e for w in windows for e in entries(w.chunk, range(w.granted))]
                back = [GiveBack(w.chunk) for w in windows]
                await kit.commit([answered(e, cost=cost) for e in sent], back=back)

    async def story() -> None:
        async with await connect(database_url) as conn:
            kit = await Kit.open(conn)
            job_id = await kit.job(600, limit=limit, size=10, bound=bound)
            await conn.execute(NEVER_MORE)
            await asyncio.gather(*(lane(job_id) for _ in range(8)))
            await kit.run(job_id)
            assert await end_job(conn, job_id) is None
            facts = (await kit.clean()).facts
            assert 0.95 * limit <= facts["spent_nusd"] <= limit
            assert facts["budget_exhausted"] == 600 - facts["completed"] > 0

    asyncio.run(story())
