"""What a step in a worker may use. `workers/wiring.py` builds it; tests build their own."""

import asyncio
import math
from collections import defaultdict
from dataclasses import dataclass, field

from core.work import LeasedChunk
from tasks.calls.attempt import Caller
from tasks.calls.gate import Door, Gate
from tasks.context import Context
from tasks.meters import Meters
from tasks.record import Writer


@dataclass(slots=True)
class Pulse:
    """How regularly this process could renew its lease, in seconds of its own clock.

    Where it could not, others could not either: for one more lease after such an outage a
    lease that has run out says nothing about its owner.
    """

    last: float = math.inf
    doubted_until: float = 0.0

    def beat(self, now: float, lease: float) -> None:
        """The lease was renewed."""
        if now - self.last > lease / 2:
            self.doubted_until = now + lease
        self.last = now

    def steady(self, now: float, lease: float) -> bool:
        """Whether leases that have run out may be believed."""
        return now - self.last <= lease / 2 and now >= self.doubted_until


@dataclass(slots=True)
class Rota:
    """Who looks at Postgres for what may have come: one lane for all of this process."""

    _next: dict[str, float] = field(default_factory=dict)

    def mine(self, what: str, now: float, every: float) -> bool:
        """Whether nobody has looked for this in the last `every` seconds; the caller does."""
        if now < self._next.get(what, -math.inf):
            return False
        self._next[what] = now + every
        return True


@dataclass(frozen=True, slots=True)
class Yard:
    """For the steps that hold leases: besides the context, this process' own row, its one
    writer, its way to the models, the sign that it is asked to stop, and what its lanes
    hold: a lease that nobody here knows of is one whose grant was lost on the way. `halted` are
    jobs of which nothing held may be sent."""

    context: Context
    process_id: int
    writer: Writer
    caller: Caller
    stopping: asyncio.Event
    tickets: set[int] = field(default_factory=set)
    held: set[LeasedChunk] = field(default_factory=set)
    halted: set[int] = field(default_factory=set)
    pulse: Pulse = field(default_factory=Pulse)
    gates: dict[tuple[str, str, bool], Gate] = field(default_factory=dict)
    doors: defaultdict[str, Door] = field(default_factory=lambda: defaultdict(Door))
    rota: Rota = field(default_factory=Rota)

    @property
    def meters(self) -> Meters:
        """What this process counts about its own work."""
        return self.caller.meters

    def takes_calls(self, name: str) -> bool:
        """Whether the deployment is open. Of one that is being probed a process holds one claim at
        a time: the rest is soon to be sent or to go elsewhere, and must not wait here for a few
        calls."""
        health = self.caller.health
        if health.probes(name):
            return all(chunk.deployment != name or chunk.done for chunk in self.held)
        return health.sends(name)

    def gate(self, chunk: LeasedChunk) -> Gate:
        """Where the chunk's entries wait to be called."""
        key = chunk.deployment, chunk.project, chunk.express
        gate = self.gates.get(key)
        if gate is None or gate.broken:
            way = chunk.deployment, chunk.project, self.doors[chunk.deployment]
            gate = self.gates[key] = Gate(self.caller, *way, express=chunk.express)
        return gate
