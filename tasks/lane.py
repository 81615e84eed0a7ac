"""A lane: one ticket's slice of work on a provider.

    due? ─► a track for each deployment that has work (tasks/track.py) ─► calls ─► writer

Each deployment of the provider has a track of its own, so that none waits for another's permits.
A track ends when it has nothing more to send, or when its deployment is closed; now and then one
of a process' lanes looks whether there is work for another one. A lane ends with the last of
them, or when the slice is over and its own calls have ended.
"""

import asyncio
from contextlib import suppress

import structlog
from psycopg import OperationalError

from core.work import Settled
from db.dispatch import end_lane, start_lane
from db.lease import disown, due_deployments
from tasks.calls.persist import persist
from tasks.calls.tally import Tally
from tasks.track import Track
from tasks.yard import Yard

log = structlog.get_logger()

# For all lanes of the process together; one that has nothing looks before it ends.
DUE_EVERY = 0.25
LOOK_EVERY = 1.0
POLL = 0.25


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
    """The state of one slice: its tracks, and those that have ended: their calls are to land."""

    def __init__(self, yard: Yard, provider: str, ticket: int) -> None:
        self.tally = Tally()
        self._yard = yard
        self._provider = provider
        self._ticket = ticket
        self._names = [d.name for d in yard.context.deployments.values() if d.provider == provider]
        self._tracks: list[Track] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closed: dict[str, float] = {}
        self._flying = 0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + yard.context.settings.yard.slice

    async def run(self) -> None:
        """Sends until the slice is over, then waits for its own calls."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._keep_tracks(tasks)
            # From here on this lane claims nothing and must not stand in another's way.
            pool = self._yard.context.pool
            await persist(pool, lambda conn: end_lane(conn, self._ticket))
            await self._yard.context.publisher.publish("dispatch")
            while self._flying:
                await self._change(POLL)
            await self._yard.writer.flush()
        except BaseException:
            await self._break_off()
            raise
        finally:
            for track in self._tracks:
                track.leave()

    def over(self) -> bool:
        """Whether its slice is: what is unsent goes back."""
        return self._loop.time() >= self._deadline or self._yard.stopping.is_set()

    def went(self) -> None:
        """One of its calls has begun."""
        self._flying += 1

    def landed(self, settled: Settled) -> None:
        """One of its calls has ended."""
        self._flying -= 1
        self.tally.add(settled)
        self._yard.writer.settle(settled)
        if not self._flying:
            self._changed.set()

    async def _keep_tracks(self, tasks: asyncio.TaskGroup) -> None:
        """A track for every deployment that has work due and takes calls, until there is none."""
        while not self.over():
            for name in await self._due():
                track = Track(self._yard, self, name)
                self._tracks.append(track)
                self._running[name] = tasks.create_task(self._run(track))
            if not self._running:
                return
            await self._change(LOOK_EVERY)

    async def _run(self, track: Track) -> None:
        try:
            await track.run()
        finally:
            del self._running[track.name]
            if track.shut:
                self._closed[track.name] = self._loop.time() + LOOK_EVERY
            self._changed.set()

    async def _due(self) -> list[str]:
        """Deployments with work for which no track runs. Postgres may be away: calls in flight
        and what is intended go on."""
        now = self._loop.time()
        names = [
            name
            for name in self._names
            if name not in self._running
            and self._yard.takes_calls(name)
            and self._closed.get(name, 0.0) <= now
        ]
        if not names or (self._running and not self._looks(now)):
            return []
        try:
            async with self._yard.context.pool.connection() as conn:
                return await due_deployments(conn, names)
        except OperationalError as error:
            log.warning("cannot see what is due", reason=type(error).__name__)
            return []

    def _looks(self, now: float) -> bool:
        return self._yard.rota.mine(f"due at {self._provider}", now, DUE_EVERY)

    async def _change(self, seconds: float) -> None:
        """Until a track or the last call has ended, or so many seconds have passed."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        for track in self._tracks:
            track.check()

    async def _break_off(self) -> None:
        """What this lane holds must not stay leased to a process that goes on living; what
        its calls brought is kept first."""
        owner, pool = self._yard.process_id, self._yard.context.pool
        for track in self._tracks:
            await track.fall_silent()
        mine = [chunk for track in self._tracks for chunk in track.chunks]
        try:
            await self._yard.writer.flush()
        finally:
            await persist(pool, lambda conn: disown(conn, mine, owner))
