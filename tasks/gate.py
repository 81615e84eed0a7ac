"""A gate: where a process' entries for one deployment and project wait for permits, and are called.

    lanes ─► waiting ─► asker: permits for the first few ─► senders ─► answers, to their lane

All lanes of the process share it: the limiter is asked once for all of them, and a permit that
one lane leaves is another's. A sender makes one call after another and lives as long as the
process; there are as many as were ever in flight at once.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from itertools import islice
from typing import Protocol

from core.ports import Grant
from core.work import Entry, Settled
from tasks.attempt import Caller, attempt
from tasks.permits import Permits

ASK = 64
FAR_AWAY = 5.0
FULL_POLL = 0.25
GATHER = 0.005


class Party(Protocol):
    """Whose entries wait at a gate: a lane."""

    def went(self) -> None:
        """One of its entries has a permit and is being called."""

    def landed(self, settled: Settled) -> None:
        """One of its calls has ended."""

    def blocked(self, project: str = "", seconds: float = 0.0) -> None:
        """The deployment was closed, or its next permit is too far away to wait for: where a
        project is named, because of this project's limits, and by so many seconds."""

    def broke(self, error: BaseException) -> None:
        """The gate has broken down and lets nothing more through."""


class Gate:
    """One deployment's and project's, on one event loop. When it is `broken`, another one must
    be made."""

    def __init__(self, caller: Caller, deployment: str, project: str) -> None:
        self.broken = False
        self._caller = caller
        self._deployment = deployment
        self._project = project
        self._permits = Permits(caller, deployment, project)
        self._parties: set[Party] = set()
        self._waiting: deque[tuple[Party, Entry]] = deque()
        # What waits must not be taken back while the limiter is asked for it.
        self._asking = asyncio.Lock()
        self._asker: asyncio.Task[None] | None = None
        self._idle: list[asyncio.Future[tuple[Party, Entry]]] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._flying = 0
        self._returned = asyncio.Event()

    def put(self, party: Party, entries: list[Entry]) -> None:
        """These may be sent: they are called in this order, as permits come."""
        self._parties.add(party)
        self._waiting.extend((party, entry) for entry in entries)
        if self._asker is None:
            self._asker = self._start(self._ask())

    async def take_back(self, party: Party) -> list[Entry]:
        """The party's entries that were not sent, and will not be."""
        async with self._asking:
            back = [entry for owner, entry in self._waiting if owner is party]
            self._waiting = deque(item for item in self._waiting if item[0] is not party)
        return back

    def leave(self, party: Party) -> None:
        """The party is over; it hears of nothing but of its calls that are still to land."""
        self._parties.discard(party)

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
                if not self._caller.health.sends(self._deployment):
                    self._block()
                    return
                async with self._asking:
                    asked = [entry for _, entry in islice(self._waiting, ASK)]
                    grant = await self._permits.acquire(asked)
                    self._let_through(grant.granted)
                if grant.granted < len(asked) and not await self._wait(grant):
                    return
        finally:
            self._asker = None

    async def _wait(self, grant: Grant) -> bool:
        """Waits until asking again is worth while; False when nobody should wait so long."""
        health = self._caller.health
        if grant.wait > FAR_AWAY and self._permits.held_by_project(grant):
            self._block(self._project, grant.wait)
            return False
        if grant.wait > FAR_AWAY:
            reason = f"its limits or a 429 give no permit for {grant.wait:.0f} s"
            health.park(self._deployment, grant.wait, reason)
            self._block()
            return False
        if grant.full:
            await self._wait_return(FULL_POLL if self._flying else grant.wait)
        else:
            await health.nap(grant.wait)
        return True

    def _block(self, project: str = "", seconds: float = 0.0) -> None:
        for party in {party for party, _ in self._waiting}:
            party.blocked(project, seconds)

    async def _wait_return(self, seconds: float) -> None:
        """Until a call of our own ends, but no longer than that."""
        self._returned.clear()
        try:
            await asyncio.wait_for(self._returned.wait(), seconds)
            # Others end about now: one question for them all.
            await asyncio.sleep(GATHER)
        except TimeoutError:
            return

    def _let_through(self, count: int) -> None:
        self._flying += count
        for _ in range(count):
            party, entry = self._waiting.popleft()
            party.went()
            if self._idle:
                self._idle.pop().set_result((party, entry))
            else:
                self._senders.add(self._start(self._send(party, entry)))

    async def _send(self, party: Party, entry: Entry) -> None:
        """A sender: makes this call, and then whichever it is handed."""
        loop = asyncio.get_running_loop()
        while True:
            settled: Settled | None = None
            try:
                settled = await attempt(self._caller, entry)
            finally:
                self._permits.give_back(entry, settled)
                self._flying -= 1
                self._returned.set()
            party.landed(settled)
            handed = loop.create_future()
            self._idle.append(handed)
            party, entry = await handed
