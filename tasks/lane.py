"""A lane: one ticket's slice of work on a provider.

    claim ─► backlog ─► window (money, cursor) ─► gate (permit, call) ─► writer
    └ _claim_ahead ┘    └ _open_windows ─────┘    └ tasks/gate.py ──┘    └ landed

Claims are made ahead, so that there is always something to open the next window on, and a
window is opened before the last one is all sent; at most one of entries is intended and
unsent. What comes later and has an earlier turn is claimed and sent before the rest. At the
end of the slice, or when the next permit is far away, what was not sent goes back to the yard.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice, takewhile

import structlog
from psycopg import OperationalError

from core.money import usd_text
from core.status import ResultStatus
from core.work import Entry, GiveBack, LeasedChunk, Settled, Window
from db.connect import Connection
from db.dispatch import end_lane, start_lane
from db.lease import claim, disown, disown_unknown, read_entries
from tasks.gate import Gate
from tasks.persist import persist
from tasks.yard import Yard

log = structlog.get_logger()

WINDOW = 64
FIRST_WINDOW, LEAST_WINDOW = 16, 8
MEASURE = 0.5
CLAIM = 200
LOW = 128
POLL = 0.25
LOOK_EVERY = 1.0
SHORT_DELAY = 0.5
TOO_DEAR = "the rest of the budget could not cover the next candidate"


@dataclass(slots=True)
class Tally:
    """What the slice did; its text is what Flower shows."""

    sent: int = 0
    completed: int = 0
    failed: int = 0
    retries: int = 0
    fallbacks: int = 0
    escalations: int = 0
    cost_nusd: int = 0

    def add(self, settled: Settled) -> None:
        self.sent += 1
        self.cost_nusd += settled.cost_nusd or 0
        if settled.result is not None:
            ok = settled.result.status == ResultStatus.COMPLETED
            self.completed += int(ok)
            self.failed += int(not ok)
        elif settled.move is not None:
            same = settled.move.candidate == settled.entry.chunk.candidate
            escalated = settled.kept is not None
            self.retries += int(same)
            self.escalations += int(escalated)
            self.fallbacks += int(not (same or escalated))

    def __str__(self) -> str:
        counts = {
            "sent": self.sent,
            "ok": self.completed,
            "to retry": self.retries,
            "fell back": self.fallbacks,
            "escalated": self.escalations,
            "failed": self.failed,
        }
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        return ", ".join([*told, f"${usd_text(self.cost_nusd)}"]) if told else "nothing sent"


async def run_slice(yard: Yard, provider: str, ticket: int) -> str:
    """Works off one ticket; returns one line on what was done."""
    if ticket in yard.tickets:
        return "the ticket came twice, nothing to do"
    pool = yard.context.pool
    yard.tickets.add(ticket)
    try:
        if not await persist(pool, lambda conn: start_lane(conn, ticket, yard.process_id)):
            return "the ticket is gone, nothing to do"
        lane = Lane(yard, provider, ticket)
        try:
            await lane.run()
        finally:
            # A row left behind would count as a living lane for as long as this process lives.
            await persist(pool, lambda conn: end_lane(conn, ticket))
    finally:
        yard.tickets.discard(ticket)
    return str(lane.tally)


class Lane:
    """The state of one slice. Its entries are in the backlog, wait at a gate, or fly."""

    def __init__(self, yard: Yard, provider: str, ticket: int) -> None:
        self.tally = Tally()
        self._yard = yard
        self._ticket = ticket
        self._provider = provider
        mine = [d for d in yard.context.deployments.values() if d.provider == provider]
        # Lanes begin with different deployments, so that one of them cannot keep all.
        self._deployments = mine[ticket % len(mine) :] + mine[: ticket % len(mine)]
        self._chunks: set[LeasedChunk] = set()
        self._backlog: deque[Entry] = deque()
        self._gates: set[Gate] = set()
        self._waiting = 0
        self._flying = 0
        self._claiming = True
        self._changed = asyncio.Event()
        self._window = FIRST_WINDOW
        self._latest = 0.0
        self._sent = 0
        self._blocked = False
        self._far: dict[str, float] = {}
        self._served: set[str] = set()
        self._broken: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._look_at = self._measured = self._loop.time()
        self._deadline = self._loop.time() + yard.context.settings.yard.slice

    async def run(self) -> None:
        """Claims and sends until the slice is over, then waits for its own calls."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._claim_ahead())
                tasks.create_task(self._open_windows())
            await self._end_claims()
            while self._flying:
                await self._change()
            await self._yard.writer.flush()
        except BaseException:
            await self._break_off()
            raise
        finally:
            self._yard.held.difference_update(self._chunks)
            for gate in self._gates:
                gate.leave(self)

    async def _break_off(self) -> None:
        """What this lane holds must not stay leased to a process that goes on living; what
        its calls brought is kept first."""
        owner, mine = self._yard.process_id, list(self._chunks)
        for gate in self._gates:
            await gate.take_back(self)
        try:
            await self._yard.writer.flush()
        finally:
            await persist(self._yard.context.pool, lambda conn: disown(conn, mine, owner))

    def _over(self) -> bool:
        late = self._loop.time() >= self._deadline
        stops = self._blocked or self._yard.stopping.is_set()
        return late or stops or self._shut() or self._halted()

    def _halted(self) -> bool:
        """Whether a job of which something may be unsent was paused or stopped: that goes back
        at once, and the next lane is another's."""
        halted = self._yard.halted
        return bool(halted) and any(
            chunk.job_id in halted and not (chunk.done or chunk.ended) for chunk in self._chunks
        )

    def _shut(self) -> bool:
        """Whether one of the deployments that it works for has been closed: what is unsent goes
        back at once, for others to take."""
        sends = self._yard.caller.health.sends
        return any(not sends(name) for name in self._served)

    async def _change(self) -> None:
        """Until something has changed, or may have."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), POLL)
        if self._broken is not None:
            raise self._broken

    # What a gate tells.

    def went(self) -> None:
        self._waiting -= 1
        self._flying += 1
        self._sent += 1
        if self._waiting <= self._window // 2:
            self._changed.set()

    def landed(self, settled: Settled) -> None:
        self._flying -= 1
        self.tally.add(settled)
        self._yard.writer.settle(settled)
        if not self._flying:
            self._changed.set()

    def blocked(self, project: str = "", seconds: float = 0.0) -> None:
        self._blocked = True
        if project:
            self._far[project] = seconds
        self._changed.set()

    def broke(self, error: BaseException) -> None:
        self._broken = error
        self._changed.set()

    # Claims.

    async def _claim_ahead(self) -> None:
        """Keeps the backlog filled until the slice is over or nothing more is due."""
        try:
            while not self._over() and await self._claim():
                while len(self._backlog) > LOW and not self._over():
                    await self._change()
                    await self._claim_earlier()
        finally:
            self._claiming = False
            self._changed.set()

    async def _claim_earlier(self) -> None:
        """Now and then: what came after the backlog and has its turn before it."""
        now = self._loop.time()
        can_send = self._waiting <= WINDOW - LEAST_WINDOW and not self._over()
        if can_send and 0 < len(self._backlog) <= 2 * CLAIM and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            head = self._backlog[0].chunk
            await self._claim([head.deployment], before=head.turn)

    async def _claim(self, names: Sequence[str] = (), before: float = math.inf) -> bool:
        """Whether there was anything, at any of its deployments or at those of these `names`. A
        claim that Postgres broke off ends the claiming; calls in flight and what is intended go
        on."""
        claimed: list[LeasedChunk] = []
        meters = self._yard.meters
        try:
            with meters.claims.timed():
                async with self._yard.context.pool.connection() as conn:
                    claimed = await self._lease(conn, names, before)
                    entries = await read_entries(conn, claimed)
        except OperationalError as error:
            log.warning("claim broken off", reason=type(error).__name__)
            await self._unclaim(claimed)
            return False
        self._line_up(entries)
        meters.claimed += len(entries)
        self._changed.set()
        return bool(claimed)

    async def _lease(
        self, conn: Connection, names: Sequence[str], before: float
    ) -> list[LeasedChunk]:
        owner = self._yard.process_id
        for name in filter(self._takes_calls, names or [d.name for d in self._deployments]):
            chunks = await claim(conn, name, owner=owner, room=CLAIM, before=before)
            if chunks:
                self._served.add(name)
                self._chunks.update(chunks)
                self._yard.held.update(chunks)
                # The next claim begins with another deployment of the provider.
                self._deployments.append(self._deployments.pop(0))
                return chunks
        return []

    def _takes_calls(self, name: str) -> bool:
        """Whether it is open. Of one that is being probed a process holds one claim at a time: the
        rest is soon to be sent or to go elsewhere, and must not wait here for a few calls."""
        health = self._yard.caller.health
        if health.probes(name):
            return all(chunk.deployment != name for chunk in self._yard.held)
        return health.sends(name)

    def _line_up(self, entries: list[Entry]) -> None:
        """Adds to the backlog; whose turn comes earlier goes before what was claimed ahead."""
        earlier = self._backlog and entries and entries[0].chunk.turn < self._backlog[-1].chunk.turn
        self._backlog.extend(entries)
        if earlier:
            self._backlog = deque(sorted(self._backlog, key=lambda entry: entry.chunk.turn))

    async def _unclaim(self, claimed: list[LeasedChunk]) -> None:
        reason = "its worker lost the database"
        await self._yard.writer.give_back([GiveBack(chunk, reason=reason) for chunk in claimed])
        owner, known = self._yard.process_id, self._yard.held
        await persist(self._yard.context.pool, lambda conn: disown_unknown(conn, set(known), owner))

    # Windows.

    async def _open_windows(self) -> None:
        """Sends the backlog, window by window, until there is none or the slice is over."""
        while (self._claiming or self._backlog or self._waiting) and not self._over():
            if (room := self._room()) > 0:
                await self._intend(room)
            else:
                await self._change()

    def _room(self) -> int:
        """How many of the backlog may be intended now. What has an earlier turn than what waits
        at a gate need not wait for that."""
        if not self._backlog:
            return 0
        if self._waiting <= self._window // 2:
            return self._window - self._waiting
        earlier = takewhile(lambda entry: entry.chunk.turn < self._latest, self._backlog)
        return sum(1 for _ in islice(earlier, WINDOW - self._waiting))

    def _measure(self) -> None:
        """A window is no larger than what is sent in about two seconds: the less is intended, the
        sooner goes what has an earlier turn, and the less is in doubt when the process dies."""
        now = self._loop.time()
        if now - self._measured >= MEASURE:
            pace = self._sent / (now - self._measured)
            self._window = max(LEAST_WINDOW, min(WINDOW, round(2 * pace)))
            self._measured, self._sent = now, 0

    async def _intend(self, room: int) -> None:
        self._measure()
        entries = [self._backlog.popleft() for _ in range(min(room, len(self._backlog)))]
        groups = [list(group) for _, group in groupby(entries, key=lambda e: e.chunk.id)]
        windows = [Window(group[0].chunk, len(group)) for group in groups]
        with self._yard.meters.windows.timed():
            await self._yard.writer.intend(windows, soon=not self._waiting)
        back = []
        for group, window in zip(groups, windows, strict=True):
            self._put(group[: window.granted])
            if window.stopped or window.short:
                back.append(self._turn_away(window))
        if back:
            await self._yard.writer.give_back(back)

    def _put(self, entries: list[Entry]) -> None:
        if entries:
            self._waiting += len(entries)
            self._latest = max(self._latest, entries[-1].chunk.turn)
            gate = self._yard.gate(entries[0].chunk)
            self._gates.add(gate)
            gate.put(self, entries)

    def _turn_away(self, window: Window) -> GiveBack:
        """The rest of a chunk whose job was stopped, or whose budget has no room just now, or
        never will: then earlier answers have to do, where its requests have some."""
        self._backlog = deque(e for e in self._backlog if e.chunk is not window.chunk)
        if window.dear:
            return GiveBack(window.chunk, reason=TOO_DEAR, settle=True)
        return GiveBack(
            window.chunk,
            delay=SHORT_DELAY,
            reason="the budget is reserved for calls in flight",
            drop=window.stopped,
        )

    # The end.

    async def _end_claims(self) -> None:
        """Gives back what was claimed and not sent, and asks for the next lane at once, so
        that the slow end of this one idles nothing."""
        # By chunk and not by its id: a chunk that was lost and leased again is two of them.
        unsent: Counter[LeasedChunk] = Counter()
        for gate in self._gates:
            unsent.update(entry.chunk for entry in await gate.take_back(self))
        held = dict.fromkeys([*unsent, *(entry.chunk for entry in self._backlog)])
        back = [self._unfinished(chunk, unsent[chunk]) for chunk in held]
        self._backlog.clear()
        pool = self._yard.context.pool
        if back:
            await self._yard.writer.give_back(back)
        # From here on this lane claims nothing and must not stand in another's way.
        await persist(pool, lambda conn: end_lane(conn, self._ticket))
        await self._yard.context.publisher.publish("dispatch")

    def _unfinished(self, chunk: LeasedChunk, unsent: int) -> GiveBack:
        if (wait := self._far.get(chunk.project, 0.0)) > 0:
            reason = f"the limits of project {chunk.project} give no permit for {wait:.0f} s"
            return GiveBack(chunk, unsent=unsent, delay=wait, reason=reason)
        sends = self._yard.caller.health.sends(chunk.deployment)
        reason = "its slice was over" if sends else f"{chunk.deployment} takes no calls now"
        return GiveBack(chunk, unsent=unsent, reason=reason)
