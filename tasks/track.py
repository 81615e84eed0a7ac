"""A track: a lane's work on one deployment.

    claim ─► backlogs ─► window (money, cursor) ─► gate (permit, call) ─► writer
    └ _claim_ahead ─┘    └ _open_windows ─────┘    └ tasks/calls/gate.py ──┘    └ landed

Claims are made ahead, so that there is always something to open the next window on, and a
window is opened before the last one is all sent; at most one of entries of a backlog
(`tasks/backlog.py`) is intended and unsent. What comes later and has an earlier turn is claimed
and sent before the rest, also while what was claimed waits for its permits. What is not
to be sent here goes back to the yard: all of it at the end of the slice, or when the next permit
is far away; a job's that was paused or stopped; a project's that is at its limits.
"""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Protocol

import structlog
from psycopg import OperationalError

from core.status import Back
from core.work import Entry, GiveBack, LeasedChunk, Settled, Window
from db.lease import claim, disown_unknown, read_entries
from tasks.backlog import FIRST_WINDOW, WINDOW, Backlog
from tasks.calls.gate import Gate
from tasks.calls.persist import persist
from tasks.record import FULL
from tasks.yard import Yard

log = structlog.get_logger()

CLAIM = 200
LOW = 128
POLL = 0.25
# For all lanes of the process together.
EARLIER_EVERY = 0.25
LOOK_EVERY = 1.0
# A lane that has nothing else stays for retries that are due so soon, and looks more often.
NEAR, LOOK_SOON = 2.0, 0.25
# And so long afterwards: calls that are under way may fail as well.
LINGER = 1.0
SHORT_DELAY = 0.5
# Permits may come sooner than was foreseen: calls give tokens back, limits are raised.
LONGEST_DELAY = 30.0
TOO_DEAR = "the rest of the budget could not cover the next candidate"
NO_ROOM = "the rest of the budget could not cover it at its candidate"


class Slice(Protocol):
    """Whose track it is: a lane."""

    def over(self) -> bool:
        """Whether it sends nothing more."""

    def went(self) -> None:
        """One of its calls has begun."""

    def landed(self, settled: Settled) -> None:
        """One of its calls has ended."""


class Track:
    """Entries of one deployment: in a backlog, waiting at a gate, or flying. `shut` says that no
    permit is near."""

    def __init__(self, yard: Yard, lane: Slice, name: str) -> None:
        self.name = name
        self.shut = False
        self.chunks: set[LeasedChunk] = set()
        self._yard = yard
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        # By project where that has limits of its own, and under no name for all others.
        self._backlogs = defaultdict[str, Backlog](lambda: Backlog(self._loop.time()))
        self._gates: set[Gate] = set()
        self._claiming = True
        self._changed = asyncio.Event()
        # By project, and under no name for all of them: until when limits give no permit.
        self._far: dict[str, float] = {}
        self._broken: BaseException | None = None
        self._retries_until = 0.0

    async def run(self) -> None:
        """Claims and sends until there is nothing more, or the slice is over. Gives back the
        rest, so that its slow end idles nothing."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claim_ahead())
            tasks.create_task(self._open_windows())
        await self._give_back(lambda _: True)

    def leave(self) -> None:
        """The slice is over, and all calls have landed or will be somebody else's."""
        self._yard.held.difference_update(self.chunks)
        for gate in self._gates:
            gate.leave(self)

    async def fall_silent(self) -> None:
        """Nothing that waits will be sent."""
        for gate in self._gates:
            await gate.take_back(self)

    def check(self) -> None:
        """Raises what broke a gate."""
        if self._broken is not None:
            raise self._broken

    def _over(self) -> bool:
        return self._lane.over() or self.shut or not self._yard.caller.health.sends(self.name)

    async def _change(self) -> None:
        """Until something has changed, or may have."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), POLL)
        self.check()

    # What a gate tells.

    def went(self, project: str) -> None:
        self._lane.went()
        if self._backlog(project).went():
            self._changed.set()

    def landed(self, settled: Settled) -> None:
        move = settled.move
        if move is not None and move.deployment == self.name and move.delay <= NEAR:
            due = self._loop.time() + move.delay + LINGER
            self._retries_until = max(self._retries_until, due)
        self._lane.landed(settled)

    def blocked(self) -> None:
        self.shut = True
        self._changed.set()

    def held_up(self, seconds: float, project: str = "") -> None:
        self._far[project] = self._loop.time() + min(seconds, LONGEST_DELAY)
        # The deployment's or its key's limits hold everybody up.
        self.shut = self.shut or not project
        self._changed.set()

    def broke(self, error: BaseException) -> None:
        self._broken = error
        self._changed.set()

    def _backlog(self, project: str) -> Backlog:
        return self._backlogs[project if project in self._yard.caller.projects else ""]

    @property
    def _empty(self) -> bool:
        """Whether nothing is claimed and unsent."""
        return not any(len(one) or one.waiting for one in self._backlogs.values())

    # Claims.

    async def _claim_ahead(self) -> None:
        """Keeps the backlogs filled until the slice is over, or nothing more is due and all that
        was has been sent."""
        try:
            while not self._over():
                if await self._claim():
                    while self._full() and not self._over():
                        await self._change()
                        await self._claim_earlier()
                elif self._empty and not self._has_retries:
                    return
                else:
                    await self._wait_for_more()
        finally:
            self._claiming = False
            self._changed.set()

    def _full(self) -> bool:
        """Whether there is enough to send. What a project's own limits hold back is not counted:
        dispatch binds little of it, and others go on meanwhile."""
        ahead = sum(one.soon if name else len(one) for name, one in self._backlogs.items())
        return ahead > min(LOW, self._pace(LOW))

    def _pace(self, most: int) -> int:
        """About how many are sent in two seconds; so many, `most`, at full pace. What lanes of a
        slow deployment hold no other one can have."""
        paces = [one.pace for one in self._backlogs.values()] or [FIRST_WINDOW]
        return sum(paces) if max(paces) < WINDOW else most

    @property
    def _has_retries(self) -> bool:
        """Whether something that failed here is soon due, or has just become so."""
        return self._loop.time() < self._retries_until

    async def _wait_for_more(self) -> None:
        """A while, as long as something waits for its permits or its next try."""
        until = self._loop.time() + (LOOK_SOON if self._has_retries else LOOK_EVERY)
        while self._loop.time() < until and not self._over():
            if self._empty and not self._has_retries:
                return
            await self._change()

    async def _claim_earlier(self) -> None:
        """Now and then: what came after the backlog and has its turn before it."""
        able = [one for one in self._backlogs.values() if len(one) and one.able]
        few = sum(len(one) for one in able) <= 2 * CLAIM
        if not able or not few or self._over():
            return
        if self._yard.rota.mine(f"earlier at {self.name}", self._loop.time(), EARLIER_EVERY):
            await self._claim(before=max(one.turn for one in able))

    async def _claim(self, before: float = math.inf) -> bool:
        """Whether there was anything. A claim that Postgres broke off ends the claiming; calls in
        flight and what is intended go on."""
        if not self._yard.takes_calls(self.name):
            return False
        claimed: list[LeasedChunk] = []
        meters, owner = self._yard.meters, self._yard.process_id
        try:
            with meters.claims.timed():
                async with self._yard.context.pool.connection() as conn:
                    room = min(CLAIM, self._pace(CLAIM))
                    claimed = await claim(conn, self.name, owner=owner, room=room, before=before)
                    self.chunks.update(claimed)
                    self._yard.held.update(claimed)
                    entries = await read_entries(conn, claimed)
        except OperationalError as error:
            log.warning("claim broken off", reason=type(error).__name__)
            await self._unclaim(claimed)
            return False
        self._line_up(entries)
        meters.claimed += len(entries)
        self._changed.set()
        return bool(claimed)

    def _line_up(self, entries: list[Entry]) -> None:
        for project, group in groupby(entries, key=lambda entry: entry.chunk.project):
            self._backlog(project).line_up([*group])

    async def _unclaim(self, claimed: list[LeasedChunk]) -> None:
        back = [GiveBack(chunk, reason=Back.DATABASE) for chunk in claimed]
        await self._yard.writer.give_back(back)
        owner, known = self._yard.process_id, self._yard.held
        await persist(self._yard.context.pool, lambda conn: disown_unknown(conn, set(known), owner))

    # Windows.

    async def _open_windows(self) -> None:
        """Sends the backlogs, window by window, until there are none or the slice is over."""
        while (self._claiming or not self._empty) and not self._over():
            await self._turn_back()
            now = self._loop.time()
            if entries := [e for one in self._backlogs.values() for e in one.take(one.room(), now)]:
                await self._intend(entries)
            else:
                await self._change()

    async def _intend(self, entries: list[Entry]) -> None:
        groups = [list(group) for _, group in groupby(entries, key=lambda e: e.chunk.id)]
        windows = [Window(group[0].chunk, len(group)) for group in groups]
        with self._yard.meters.windows.timed():
            soon = any(self._idles(group[0]) for group in groups)
            await self._yard.writer.intend(windows, soon=soon)
        back = []
        for group, window in zip(groups, windows, strict=True):
            self._put(group[: window.granted])
            if window.granted < window.size:
                back.append(self._turn_away(window))
        if back:
            await self._yard.writer.give_back(back)

    def _idles(self, entry: Entry) -> bool:
        """Whether calls may be waiting for this entry's window: neither this lane has something
        to send before it nor, till the next commit, have the others."""
        if self._backlog(entry.chunk.project).waiting:
            return False
        return not self._yard.gate(entry.chunk).keeps_busy(entry, FULL)

    def _put(self, entries: list[Entry]) -> None:
        if entries:
            self._backlog(entries[0].chunk.project).put(entries)
            gate = self._yard.gate(entries[0].chunk)
            self._gates.add(gate)
            gate.put(self, entries)

    def _turn_away(self, window: Window) -> GiveBack:
        """The rest of a chunk whose job was stopped or paused, or whose budget has no room just
        now, or never will: then earlier answers have to do, where its requests have some."""
        self._backlog(window.chunk.project).drop(lambda chunk: chunk is window.chunk)
        if window.dear:
            return GiveBack(window.chunk, reason=TOO_DEAR, settle=True)
        if window.replan:
            return GiveBack(window.chunk, reason=NO_ROOM, replan=True)
        if window.short:
            return GiveBack(window.chunk, delay=SHORT_DELAY, reason=Back.BUDGET)
        return GiveBack(window.chunk, drop=window.stopped)

    # What goes back.

    async def _turn_back(self) -> None:
        """What may not go on: jobs that were paused or stopped, and projects at their limits."""
        now, halted = self._loop.time(), self._yard.halted
        self._far = {project: until for project, until in self._far.items() if until > now}
        if self._far or halted:
            await self._give_back(
                lambda chunk: chunk.project in self._far or chunk.job_id in halted
            )

    async def _give_back(self, which: Callable[[LeasedChunk], bool]) -> None:
        """Gives back what was claimed and not sent of these chunks."""
        # By chunk and not by its id: a chunk that was lost and leased again is two of them.
        unsent: Counter[LeasedChunk] = Counter()
        for gate in self._gates:
            unsent.update(entry.chunk for entry in await gate.take_back(self, which))
        for chunk, count in unsent.items():
            self._backlog(chunk.project).waiting -= count
        backlogs = [*self._backlogs.values()]
        held = dict.fromkeys([*unsent, *(c for one in backlogs for c in one.drop(which))])
        if held:
            back = [self._unfinished(chunk, unsent[chunk]) for chunk in held]
            await self._yard.writer.give_back(back)

    def _unfinished(self, chunk: LeasedChunk, unsent: int) -> GiveBack:
        until = max(self._far.get(chunk.project, 0.0), self._far.get("", 0.0))
        if (wait := until - self._loop.time()) > 0:
            return GiveBack(chunk, unsent=unsent, delay=wait, reason=Back.LIMITS)
        sends = self._yard.caller.health.sends(chunk.deployment)
        return GiveBack(chunk, unsent=unsent, reason=Back.SLICE if sends else Back.CLOSED)
