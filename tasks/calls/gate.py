"""A gate: where a process' entries for one deployment and project wait for permits, and are called.

    lanes ─► waiting ─► asker: permits for the first few ─► senders ─► answers, to their lane

All lanes of the process share it: the limiter is asked once for all of them, and a permit that
one lane leaves is another's. A sender makes one call after another until the last lane has left;
there are as many as were ever in flight at once.

Whose turn comes earlier is called first, however late it came to the gate; and where gates of
several projects wait for calls of their deployment to end, the gate whose turn it is asks first.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Protocol

from core.brake import Limit
from core.ports import Grant
from core.settings import PROJECT_SCOPE
from core.work import Entry, LeasedChunk, Settled
from tasks.calls.attempt import Caller, attempt
from tasks.calls.permits import Permits

ASK = 64
FAR_AWAY = 5.0
LONG = 0.5
FULL_POLL = 0.25
GATHER = 0.005


class Party(Protocol):
    """Whose entries wait at a gate: a lane."""

    def went(self, project: str) -> None:
        """One of its entries, of this project, has a permit and is being called."""

    def landed(self, settled: Settled) -> None:
        """One of its calls has ended."""

    def blocked(self) -> None:
        """The deployment was closed."""

    def held_up(self, seconds: float, project: str = "") -> None:
        """Limits give no permit for calls to the deployment for so long; where a project is
        named, only for its calls."""

    def broke(self, error: BaseException) -> None:
        """The gate has broken down and lets nothing more through."""


class Door:
    """What the gates of a deployment share: which of them wait for calls in flight to end, each
    with its next entry's turn."""

    def __init__(self) -> None:
        self.waiting: dict[Gate, float] = {}

    def returned(self) -> None:
        """One of the deployment's calls has ended."""
        for gate in self.waiting:
            gate.wake()

    def is_next(self, gate: "Gate") -> bool:
        """Whether no other of those that wait has an earlier turn."""
        return self.waiting[gate] <= min(self.waiting.values())


class Gate:
    """One deployment's and project's, on one event loop. When it is `broken`, another one must
    be made."""

    def __init__(
        self, caller: Caller, deployment: str, project: str, door: Door, *, express: bool = False
    ) -> None:
        self.broken = False
        self._door = door
        self._caller = caller
        self._deployment = deployment
        self._project = project
        self._permits = Permits(caller, deployment, project, express=express)
        self._parties: set[Party] = set()
        self._waiting: deque[tuple[Party, Entry]] = deque()
        self._in_order = True
        # What waits must not be taken back while the limiter is asked for it.
        self._asking = asyncio.Lock()
        self._asker: asyncio.Task[None] | None = None
        self._idle: list[asyncio.Future[tuple[Party, Entry]]] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._returned = asyncio.Event()

    def put(self, party: Party, entries: list[Entry]) -> None:
        """These may be sent: they are called in the order of their turns, as permits come."""
        self._parties.add(party)
        if self._waiting and _turn(entries[0]) < _turn(self._waiting[-1][1]):
            self._in_order = False
        self._waiting.extend((party, entry) for entry in entries)
        if self._asker is None:
            self._asker = self._start(self._ask())

    async def take_back(
        self, party: Party, which: Callable[[LeasedChunk], bool] = lambda _: True
    ) -> list[Entry]:
        """The party's entries that were not sent, and will not be: those of these chunks."""
        back: list[tuple[Party, Entry]] = []
        stays: list[tuple[Party, Entry]] = []
        async with self._asking:
            for item in self._waiting:
                mine = item[0] is party and which(item[1].chunk)
                (back if mine else stays).append(item)
            self._waiting = deque(stays)
        return [entry for _, entry in back]

    def keeps_busy(self, entry: Entry, count: int) -> bool:
        """Whether so many entries wait here, the next of which may as well go before this one: its
        turn is earlier, or it is of the same job."""
        if len(self._waiting) < count or not self._in_order:
            return False
        first = self._waiting[0][1]
        return _turn(first) <= _turn(entry) or first.chunk.job_id == entry.chunk.job_id

    def wake(self) -> None:
        """A call of the deployment has ended: there may be a permit."""
        self._returned.set()

    def leave(self, party: Party) -> None:
        """The party is over; it hears of nothing but of its calls that are still to land."""
        self._parties.discard(party)
        if not self._parties:
            # There is a gate for every project: idle senders of all of them would add up.
            for handed in self._idle:
                handed.cancel()
            self._idle.clear()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._senders.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.broken = True
            for party in self._parties:
                party.broke(error)

    async def _ask(self) -> None:
        """Takes permits for what waits, until nothing does or the next one is far away."""
        try:
            while self._waiting:
                if not self._caller.ready(self._deployment):
                    for party in self._waiters():
                        party.blocked()
                    return
                async with self._asking:
                    self._line_up()
                    asked = [entry for _, entry in islice(self._waiting, ASK)]
                    grant = await self._permits.acquire(asked)
                    self._let_through(grant.granted)
                if grant.granted < len(asked) and not await self._wait(grant):
                    return
        finally:
            self._asker = None

    def _line_up(self) -> None:
        """By their turns; the entries of a chunk stay in their order."""
        if not self._in_order:
            self._waiting = deque(sorted(self._waiting, key=lambda item: _turn(item[1])))
            self._in_order = True

    async def _wait(self, grant: Grant) -> bool:
        """Waits until asking again is worth while; False when nobody should wait so long."""
        if grant.wait > FAR_AWAY:
            self._give_up(grant)
            return False
        meters, brake = self._caller.meters, grant.brake
        if brake is not None and grant.wait > LONG:
            meters.braked(self._deployment, brake, 0.0, ahead=grant.wait)
        began = time.monotonic()
        if grant.full:
            await self._wait_return(FULL_POLL if self._flying else grant.wait)
        else:
            await self._caller.health.nap(grant.wait)
        if brake is not None:
            meters.braked(self._deployment, brake, time.monotonic() - began)
        return True

    def _give_up(self, grant: Grant) -> None:
        """A pause closes the deployment for everybody. Limits are no fault of it: what waits
        comes back when there may be a permit."""
        brake, seconds = grant.brake, grant.wait
        if brake is None or brake.what is Limit.PAUSE:
            reason = f"its provider asks for a pause of {seconds:.0f} s"
            self._caller.health.park(self._deployment, seconds, reason)
            for party in self._waiters():
                party.blocked()
            return
        self._caller.meters.braked(self._deployment, brake, 0.0, ahead=seconds)
        project = self._project if brake.scope.startswith(PROJECT_SCOPE) else ""
        for party in self._waiters():
            party.held_up(seconds, project)

    def _waiters(self) -> set[Party]:
        return {party for party, _ in self._waiting}

    async def _wait_return(self, seconds: float) -> None:
        """Until a call of the deployment ends, but no longer than that."""
        if not self._waiting:
            return
        self._returned.clear()
        self._door.waiting[self] = _turn(self._waiting[0][1])
        try:
            await asyncio.wait_for(self._returned.wait(), seconds)
            # Others end about now: one question for them all. Who is not next asks afterwards.
            await asyncio.sleep(GATHER if self._door.is_next(self) else 2 * GATHER)
        except TimeoutError:
            return
        finally:
            del self._door.waiting[self]

    def _let_through(self, count: int) -> None:
        self._flying += count
        for _ in range(count):
            party, entry = self._waiting.popleft()
            party.went(self._project)
            if self._idle:
                self._idle.pop().set_result((party, entry))
            else:
                self._senders.add(self._start(self._send(party, entry)))

    async def _send(self, party: Party, entry: Entry) -> None:
        """A sender: makes this call, and then whichever it is handed."""
        loop = asyncio.get_running_loop()
        while True:
            await self._call(party, entry)
            # Who waits holds no prompt, and no lane that is over.
            del party, entry
            handed = loop.create_future()
            self._idle.append(handed)
            party, entry = await handed

    async def _call(self, party: Party, entry: Entry) -> None:
        settled: Settled | None = None
        try:
            settled = await attempt(self._caller, entry)
        finally:
            self._permits.give_back(entry, settled)
            self._flying -= 1
            self._door.returned()
        party.landed(settled)


def _turn(entry: Entry) -> float:
    return entry.chunk.turn
