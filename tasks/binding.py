"""Binding: the view of the yard on which chunks get their deployments, and what follows for
their bounds and turns."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from core.deployment import Deployment
from core.plan import Plan, indexes
from core.status import Back, Condition, DeploymentStatus
from db.connect import Connection
from db.dispatch import (
    Binding,
    Piece,
    Stuck,
    Work,
    bind,
    latest_chunks,
    mean_sizes,
    planned_work,
    read_sizes,
    split,
    stuck_chunks,
    unbind,
    waiting_means,
)
from db.fair import Planned, clocks_of
from db.vitals import Vital
from routing.policies import POLICIES, Ask, Choice, Line, choose, deal, reach
from tasks.allowance import Allowance
from tasks.bounds import bounds_of, same_bounds
from tasks.fair import ClaimTurns, FairOrder, keep_orders
from tasks.health import OPEN
from tasks.horizon import (
    CHUNK,
    HORIZON,
    Mean,
    ahead_of,
    counts_tokens,
    granted_ahead,
    is_known,
    limits_of,
    piece_of,
)

_encode = msgspec.json.Encoder().encode

FEW = 4 * CHUNK
"""Requests of a job, for each of its candidates, that are dealt out one by one."""
RETURN_AFTER = 30.0
"""Seconds that a request waits for those that are left to it, before one that has given up on it
is asked again."""
OVERDUE = 2 * HORIZON
"""Seconds for which a chunk is bound and unsent before another deployment may have it."""
IDLE, LATE = 2.0, 3.0
"""Seconds of work: who has less has run out of it, and who has so much more is to be helped."""
MOST_HELPED = 100
"""Chunks of a deployment that are looked at for that, each time."""
MOST_AT_ONCE = 500 * CHUNK
"""Requests that are looked at in one go: longer transactions would keep others waiting."""


async def look(
    conn: Connection,
    deployments: Mapping[str, Deployment],
    work: Mapping[str, Work],
    standing: Mapping[str, Condition],
    vitals: Mapping[str, Vital],
) -> dict[str, Line]:
    """The deployments as they are now, by name."""
    counting = [
        name
        for name, deployment in deployments.items()
        if any(counts_tokens(limits) for limits in limits_of(deployment))
    ]
    means = await waiting_means(conn, counting) if counting else {}
    lines = {}
    for name, deployment in deployments.items():
        vital = vitals.get(name, Vital(name))
        mean = Mean(*means[name]) if name in means else None
        ahead, bound, held = ahead_of(deployment, vital, mean), work[name].total, work[name].held
        granted = granted_ahead(deployment, vital, mean)
        known = is_known(vital, granted)
        # What a limit keeps lanes from sending is as good as bound.
        unsent = bound + held if granted < ahead + 1 else bound
        condition = standing.get(name, OPEN)
        tried = condition.status is DeploymentStatus.PROBING
        binds = condition.binds and not (tried and bound)
        lines[name] = Line(
            name=name,
            model=deployment.model,
            price=deployment.price,
            closed="" if binds else condition.told,
            reopens=condition.reopens,
            # One that is being tried gets a single chunk, and nobody waits for it.
            room=min(CHUNK, ahead) if tried else ahead - unsent,
            piece=piece_of(deployment, vital, granted),
            queue=HORIZON * (bound + held) / ahead,
            known=known,
            ahead=ahead,
            load=bound + vital.in_flight,
            carries=deployment.buckets.in_flight,
            rate=vital.rate,
            latency_ms=vital.latency_ms,
            output_tokens=vital.output_tokens,
            # Where there is no room, those of whom nothing is there yet get a little.
            spare=max(0, min(CHUNK, ahead) + ahead - bound) if bound >= ahead and not tried else 0,
        )
    return lines


class Binder:
    """What one dispatch binds, on what it sees: `lines` by name, whose room it takes, and the
    `allowances` of projects with limits of their own, by their ids."""

    def __init__(
        self,
        conn: Connection,
        deployments: Mapping[str, Deployment],
        lines: Mapping[str, Line],
        allowances: Mapping[int, Allowance] | None = None,
    ) -> None:
        self._conn = conn
        self._deployments = deployments
        self._lines = lines
        self._allowances = allowances or {}
        self._plans: dict[int, Plan] = {}
        self._means: dict[int, tuple[float, float]] = {}
        self._within: dict[str, set[str]] = {}
        # By project the weights of its jobs that wait.
        self._beside: defaultdict[int, dict[int, float]] = defaultdict(dict)

    async def free_stuck(self, silent: Iterable[str]) -> None:
        """Plans again what waits at deployments that send nothing, and not merely for a moment,
        where another one is open for it."""
        away = [name for name in silent if name in self._lines and self._lines[name].away]
        if not away or all(line.closed for line in self._lines.values()):
            return
        going = await stuck_chunks(self._conn, away, self._can_go)
        if going:
            await unbind(self._conn, [chunk.id for chunk in going], Back.CLOSED)

    def _can_go(self, chunk: Stuck) -> bool:
        may = self._allowed(chunk.plan, chunk, limited=chunk.limited)
        names = [chunk.plan.candidates[index] for index in indexes(may)]
        return any(not self._lines[name].closed for name in names)

    async def free_overdue(self) -> None:
        """Plans again what was bound to an open deployment that turned out slower than was
        thought, where another one would take it now."""
        names = [name for name, line in self._lines.items() if not line.closed]
        if any(self._lines[name].room > 0 for name in names):
            may = self._goes_elsewhere
            await self._free_slow(await stuck_chunks(self._conn, names, may, seconds=OVERDUE))

    async def free_for_idle(self) -> None:
        """Plans again what was bound to a deployment that is late, as far as another one, which
        has run out of work, is done with it earlier."""
        able = [line for line in self._lines.values() if not line.closed]
        idle = {line.name for line in able if line.queue < IDLE and line.room > 0}
        late = [line.name for line in able if line.known and line.queue > IDLE + LATE]
        for name in late if idle else ():
            bound = await latest_chunks(self._conn, name, MOST_HELPED)
            await self._free_slow([chunk for chunk in bound if self._is_helped(chunk, idle)])

    def _is_helped(self, chunk: Stuck, idle: set[str]) -> bool:
        """Whether it is done earlier at one of these; then both queues are as if it went there."""
        mine, other = self._lines[chunk.plan.candidates[chunk.candidate]], self._elsewhere(chunk)
        if other is None or other.name not in idle:
            return False
        longer = other.queue + HORIZON * chunk.size / other.ahead
        if longer > mine.queue:
            return False
        mine.queue -= HORIZON * chunk.size / mine.ahead
        other.queue = longer
        return True

    async def _free_slow(self, going: list[Stuck]) -> None:
        if not going:
            return
        await unbind(self._conn, [chunk.id for chunk in going], Back.SLOW)
        for name in {chunk.plan.candidates[chunk.candidate] for chunk in going}:
            self._lines[name].room = self._lines[name].spare = 0

    def _goes_elsewhere(self, chunk: Stuck) -> bool:
        return self._elsewhere(chunk) is not None

    def _elsewhere(self, chunk: Stuck) -> Line | None:
        """The other deployment that takes it now, if any does."""
        if POLICIES[chunk.plan.choose].patient:
            return None
        may = self._allowed(chunk.plan, chunk, limited=chunk.limited) & ~(1 << chunk.candidate)
        ask = Ask(chunk.id, chunk.size, may, among=chunk.among)
        choice = choose(chunk.plan, ask, self._lines)
        return None if choice is None else self._lines[chunk.plan.candidates[choice.candidate]]

    async def bind(self) -> int:
        """Binds what there is room for; how many chunks. Those that stand at different
        deployments take turns, request by request."""
        orders = await self._orders()
        if not orders:
            return 0
        claims = await ClaimTurns.read(self._conn, [*self._lines], self._allowances)
        for order in orders:
            for project, job, weight in order.weights():
                self._beside[project][job] = weight
        chosen: list[_Chosen] = []
        offers = [iter(order) for order in orders]
        heap = [(0, number) for number in range(len(orders))]
        while heap:
            served, number = heap[0]
            order = orders[number]
            # An order learns what was taken when it is asked for the next one.
            chunk = next(offers[number], None)
            if not self._has_room(order.home):
                heapq.heappop(heap)
            elif chunk is None:
                offers[number] = iter(order)
                if not await self._look(order):
                    heapq.heappop(heap)
            elif pieces := self._choose(order, chunk, claims):
                chosen.extend(pieces)
                served += sum(one.chunk.size for one in pieces)
                heapq.heapreplace(heap, (served, number))
        await keep_orders(self._conn, orders)
        if not chosen:
            return 0
        await claims.keep(self._conn)
        return await bind(self._conn, await self._bounded(await self._cut(chosen)))

    async def _orders(self) -> list[FairOrder]:
        """The orders of what stands at each deployment, as much of it as may find room. What
        waits for a closed deployment by its plan is not looked at, or it would stand in the way
        of the rest."""
        able: dict[str, set[int]] = {}
        for home, plans in (await planned_work(self._conn)).items():
            near = {id_: reach(plan, home, self._lines) for id_, plan in plans.items()}
            if any(near.values()):
                self._plans.update(plans)
                able[home] = {id_ for id_, names in near.items() if names}
                self._within[home] = {name for names in near.values() for name in names}
        clocks = await clocks_of(self._conn, able) if able else {}
        full = [project for project, one in self._allowances.items() if one.room <= 0]
        orders = []
        for home, ids in able.items():
            rate = self._lines[home].rate if home in self._lines else 0.0
            order = FairOrder(home, ids, clock=clocks.get(home, 0.0), rate=rate, full=full)
            await self._look(order)
            orders.append(order)
        return orders

    async def _look(self, order: FairOrder) -> bool:
        """Whether there is something more in the order for the room that there is."""
        room = sum(max(0, self._lines[name].room) for name in self._within[order.home])
        chunks = await order.look(self._conn, min(max(room, CHUNK), MOST_AT_ONCE))
        weighed = [one.id for one in chunks if self._plans[one.plan_id].choose == "cheapest"]
        if weighed:
            self._means.update(await mean_sizes(self._conn, weighed))
        return bool(chunks)

    def _has_room(self, home: str) -> bool:
        """Whether anything that stands there may find room."""
        return any(self._lines[name].free(newcomer=True) for name in self._within[home])

    def _allowed(self, plan: Plan, chunk: Planned | Stuck, *, limited: bool) -> int:
        """The candidates (bits) that may have a chunk: a budget needs a price. Where those that
        are left to it are closed for longer, it does not wait without end, but goes back to those
        that have given up on it: they answer, or its attempts come to an end."""
        may = sum(
            1 << index
            for index in indexes(plan.mask(chunk.among))
            if (line := self._lines.get(plan.candidates[index])) is not None
            and (line.price is not None or not limited)
        )
        left = may & ~chunk.excluded
        # A step of a cascade may have an answer of theirs: the sweep looks (`tasks/strays.py`).
        if chunk.waited < RETURN_AFTER or plan.cascade is not None:
            return left
        gone = all(self._lines[plan.candidates[index]].away for index in indexes(left))
        return may if gone else left

    def _choose(self, order: FairOrder, chunk: Planned, claims: ClaimTurns) -> list["_Chosen"]:
        """Where the chunk goes, piece by piece, as far as there is room."""
        plan, limited = self._plans[chunk.plan_id], order.limited(chunk.job)
        allowed = self._allowed(plan, chunk, limited=limited)
        new_to = sum(
            1 << index
            for index in indexes(allowed)
            if self._lines[plan.candidates[index]].spare > 0
            and not claims.has_bound(plan.candidates[index], chunk.job)
        )
        allowance = self._allowances.get(order.project(chunk.job))
        wanted = chunk.size if allowance is None else min(chunk.size, allowance.room)
        if wanted <= 0:
            return []
        mean = self._means.get(chunk.id, (0.0, 0.0))
        few = order.in_sight(chunk.job) < FEW * allowed.bit_count()
        ask = Ask(chunk.id, wanted, allowed, *mean, new_to, chunk.among)
        seat = order.seat(chunk.job)
        pieces = []
        first = 1
        for choice, dealt in deal(plan, ask, self._lines, few=few):
            name = plan.candidates[choice.candidate]
            cut = self._lines[name].pieces(dealt) if allowance is None else allowance.take(dealt)
            for count in cut:
                piece = chunk if count == chunk.size else replace(chunk, size=count)
                turn, crowd = claims.next(name, piece, seat, self._beside[seat.project])
                binding = Binding(chunk.id, choice.candidate, name, told(choice), turn, crowd)
                pieces.append(_Chosen(piece, limited, binding, first))
                first += count
        if pieces:
            order.take(first - 1, whole=first > chunk.size)
            if first > chunk.size:
                # The chunk itself goes with the last piece.
                pieces[-1] = replace(pieces[-1], first=0)
        return pieces

    async def _cut(self, chosen: list["_Chosen"]) -> list["_Chosen"]:
        """The pieces as chunks of their own."""
        cut = [one for one in chosen if one.first]
        if not cut:
            return chosen
        spans = [Piece(one.chunk.id, one.first, one.first + one.chunk.size - 1) for one in cut]
        ids = iter(await split(self._conn, spans))
        return [one.named(next(ids)) if one.first else one for one in chosen]

    async def _bounded(self, chosen: list["_Chosen"]) -> list[Binding]:
        """The bindings, with new bounds where the old ones do not hold."""
        moved = [one.chunk.id for one in chosen if not self._alike(one)]
        sizes = await read_sizes(self._conn, moved) if moved else {}
        bindings = []
        for one in chosen:
            if one.chunk.id not in sizes:
                bindings.append(one.binding)
                continue
            deployment = self._deployments[one.binding.deployment]
            bounds = bounds_of(sizes[one.chunk.id], deployment, limited=one.limited)
            # Under a budget it may not go where it has no bound, and waits for its own.
            if bounds is not None:
                bindings.append(replace(one.binding, bounds=bounds))
        return bindings

    def _alike(self, one: "_Chosen") -> bool:
        """Whether the chunk's bounds hold where it goes."""
        if one.binding.candidate == one.chunk.candidate:
            return True
        present = self._plans[one.chunk.plan_id].candidates[one.chunk.candidate]
        return present in self._deployments and same_bounds(
            self._deployments[present], self._deployments[one.binding.deployment]
        )


class _Chosen(msgspec.Struct, frozen=True, gc=False):
    """A chunk, whether a budget limits it, and where it goes; a piece of a chunk begins with its
    entry `first`, counted from 1."""

    chunk: Planned
    limited: bool
    binding: Binding
    first: int = 0

    def named(self, id_: int) -> "_Chosen":
        """The piece, now that it is a chunk."""
        return replace(
            self, chunk=replace(self.chunk, id=id_), binding=replace(self.binding, id=id_), first=0
        )


def told(choice: Choice) -> str:
    """A choice and its reasons, as they are kept with the chunk."""
    reasons = {
        "by": choice.policy,
        "saw": choice.saw,
        "closed": choice.closed,
        "among": choice.among,
    }
    return _encode({key: value for key, value in reasons.items() if value}).decode()
