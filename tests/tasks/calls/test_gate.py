"""A gate between two lanes, a provider and permits that the test gives."""

import asyncio
import json
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import pytest

from core.brake import Brake, Limit
from core.errors import ConfigError
from core.plan import Plan
from core.ports import Ask, Buckets, Grant, HttpCall, HttpReply, Return
from core.status import Cause, DeploymentStatus
from core.work import Entry, LeasedChunk, Settled
from tasks.brakes import Brakes
from tasks.calls.attempt import Caller
from tasks.calls.gate import Door, Gate
from tasks.health import OPEN, Health
from tests.conftest import DEPLOYMENTS

LATER = Grant(0, 3600.0, brake=Brake("small", Limit.PAUSE))
SOON = Grant(0, 0.01)


class Wire:
    """Permits and provider in one: as many permits as there are, calls answered when told."""

    def __init__(self, permits: int = 0) -> None:
        self.permits = permits
        self.refusal = SOON
        self.asked: list[int] = []
        self.express = False
        self.tokens = 0
        self.returned = 0
        self.called: list[int] = []
        self.answers = asyncio.Event()

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        self.asked.append(len(asks))
        self.express = express
        await asyncio.sleep(0)
        if self.permits < 0:
            raise RuntimeError("the limiter has broken down")
        granted = min(self.permits, len(asks))
        self.permits -= granted
        self.tokens += sum(ask.input + ask.output for ask in asks[:granted])
        return replace(self.refusal, granted=granted)

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        self.returned += back.calls
        self.tokens -= back.input + back.output

    def hear(self, key: str, headers: Mapping[str, str]) -> None:
        return

    async def pause(
        self, key: str, seconds: float, epoch: int = -1, began: float | None = None
    ) -> None:
        return

    async def hold(self, key: str, longest: float) -> None:
        return

    async def send(self, call: HttpCall) -> HttpReply:
        self.called.append(int(json.loads(call.body)["messages"][0]["content"]))
        await self.answers.wait()
        body = {
            "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        }
        return HttpReply(200, {}, json.dumps(body).encode())

    async def close(self) -> None:
        return


class Lane:
    """Hears what a gate says."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended: list[int] = []
        self.away = False
        self.held: dict[str, float] = {}
        self.errors: list[BaseException] = []

    def went(self, project: str) -> None:
        self.sent += 1

    def landed(self, settled: Settled) -> None:
        self.ended.append(settled.entry.seq)

    def has_ended(self, count: int) -> bool:
        return len(self.ended) == count

    def blocked(self) -> None:
        self.away = True

    def held_up(self, seconds: float, project: str = "") -> None:
        self.held[project] = seconds

    def broke(self, error: BaseException) -> None:
        self.errors.append(error)


def entries(numbers: Iterable[int], turn: float = 0.0, job: int = 1) -> list[Entry]:
    seqs = list(numbers)
    chunk = LeasedChunk(
        id=1,
        fence=1,
        job_id=job,
        part=1,
        round=1,
        plan_id=1,
        plan=Plan("default", ("small",), max_output=100, max_attempts=6),
        candidate=0,
        deployment="small",
        seqs=seqs,
        tries=[0] * len(seqs),
        calls=[0] * len(seqs),
        tokens=[5] * len(seqs),
        text_bytes=[20] * len(seqs),
        overheads=[144] * len(seqs),
        outputs=[100] * len(seqs),
        bounds=[700] * len(seqs),
        accounts=(1, 2),
        limited=False,
        turn=turn,
    )
    bodies = [json.dumps({"messages": [{"role": "user", "content": str(n)}]}) for n in seqs]
    return [Entry(chunk, index, body.encode()) for index, body in enumerate(bodies)]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.001)


def play(scene: Callable[[Gate, Wire], Awaitable[None]]) -> None:
    async def run() -> None:
        wire = Wire()
        await scene(Gate(Caller(DEPLOYMENTS, {}, wire, wire), "small", "default", Door()), wire)

    asyncio.run(run())


def test_lanes_share_what_permits_there_are_in_the_order_of_their_coming() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        first, second = Lane(), Lane()
        gate.put(first, entries(range(3)))
        gate.put(second, entries(range(10, 13)))
        wire.permits = 4
        await until(lambda: len(wire.called) == 4)
        assert wire.called == [0, 1, 2, 10]
        wire.answers.set()
        wire.permits = 2
        await until(lambda: len(second.ended) == 3)
        assert sorted(first.ended + second.ended) == [0, 1, 2, 10, 11, 12]
        assert (first.sent, second.sent, wire.returned) == (3, 3, 6)
        # One question was for the entries of both.
        assert wire.asked[0] == 6

    play(scene)


def test_whose_turn_comes_earlier_goes_first_however_late_it_came() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        large, small = Lane(), Lane()
        gate.put(large, entries(range(5), turn=500))
        gate.put(small, entries(range(10, 12), turn=30))
        gate.put(large, entries(range(5, 7), turn=700))
        wire.permits = 4
        await until(lambda: len(wire.called) == 4)
        assert wire.called == [10, 11, 0, 1]
        assert [entry.seq for entry in await gate.take_back(large)] == [2, 3, 4, 5, 6]

    play(scene)


def test_a_window_is_in_no_hurry_while_its_job_or_an_earlier_turn_has_enough_to_send() -> None:
    async def scene(gate: Gate, _: Wire) -> None:
        [mine] = entries([99], turn=300)
        [other] = entries([99], turn=300, job=2)
        [later] = entries([99], turn=600, job=2)
        assert not gate.keeps_busy(mine, 5)
        gate.put(Lane(), entries(range(5), turn=500))
        assert gate.keeps_busy(mine, 5)
        assert gate.keeps_busy(later, 5)
        assert not gate.keeps_busy(mine, 6)
        assert not gate.keeps_busy(other, 5)

    play(scene)


def test_among_the_gates_of_a_deployment_the_one_whose_turn_it_is_asks_first() -> None:
    """All calls that may be in flight are one project's, and each that ends would be its next."""

    async def run() -> None:
        wire, door = Wire(permits=2), Door()
        wire.refusal = Grant(0, 3.0, full=True)
        caller = Caller(DEPLOYMENTS, {}, wire, wire)
        large, small = Lane(), Lane()
        gate = Gate(caller, "small", "bulk", door)
        gate.put(large, entries(range(50), turn=500))
        await until(lambda: len(wire.called) == 2)
        Gate(caller, "small", "other", door).put(small, entries([99], turn=30))
        await until(lambda: len(door.waiting) == 2)
        wire.permits = 1
        wire.answers.set()
        await until(lambda: small.has_ended(1))
        assert wire.called == [0, 1, 99]
        await gate.take_back(large)

    asyncio.run(run())


def test_when_its_last_lane_has_left_nothing_of_it_stays_behind() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        lanes = [Lane(), Lane()]
        wire.permits = 200
        for lane in lanes:
            gate.put(lane, entries(range(50)))
        await until(lambda: len(wire.called) == 100)
        wire.answers.set()
        await until(lambda: sum(len(lane.ended) for lane in lanes) == 100)
        gate.leave(lanes[0])
        assert len(asyncio.all_tasks()) > 50
        last = weakref.ref(lanes[1])
        gate.leave(lanes.pop())
        await until(lambda: len(asyncio.all_tasks()) == 1)
        lanes.clear()
        del lane
        assert last() is None
        gate.put(again := Lane(), entries([7]))
        await until(lambda: again.has_ended(1))

    play(scene)


def test_what_was_not_used_of_a_permit_comes_back() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        lane = Lane()
        wire.permits = 200
        wire.answers.set()
        gate.put(lane, entries(range(200)))
        await until(lambda: len(lane.ended) == 200)
        assert wire.tokens == 200 * (9 + 4)

    play(scene)


def test_what_is_taken_back_is_not_called() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        staying, leaving = Lane(), Lane()
        gate.put(leaving, entries(range(3)))
        gate.put(staying, entries(range(10, 12)))
        wire.permits = 1
        await until(lambda: wire.called == [0])
        assert [entry.seq for entry in await gate.take_back(leaving)] == [1, 2]
        gate.leave(leaving)
        wire.permits = 10
        wire.answers.set()
        await until(lambda: len(staying.ended) == 2)
        assert sorted(wire.called) == [0, 10, 11]
        assert leaving.ended == [0]

    play(scene)


def test_a_long_pause_closes_the_deployment_for_all() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        lane, later = Lane(), Lane()
        wire.refusal = LATER
        gate.put(lane, entries(range(2)))
        await until(lambda: lane.away)
        assert len(await gate.take_back(lane)) == 2
        # Nobody asks for one that is closed.
        wire.permits = 1
        gate.put(later, entries([7]))
        await until(lambda: later.away)
        assert wire.asked == [2]
        assert wire.called == []

    play(scene)


def test_limits_close_nothing_however_long_the_next_permit_takes() -> None:
    """A declared limit is no fault of a deployment: it stays open, and what waits comes back."""

    async def run() -> None:
        wire, lane, other = Wire(), Lane(), Lane()
        brake = Brake("project:frugal", Limit.REQUESTS, 1)
        wire.refusal = Grant(0, 3600.0, brake=brake)
        projects = {"frugal": Buckets("project:frugal", rpm=1)}
        caller = Caller(DEPLOYMENTS, {}, wire, wire, projects=projects)
        gate = Gate(caller, "small", "frugal", Door())
        gate.put(lane, entries(range(2)))
        await until(lambda: bool(lane.held))
        assert lane.held == {"frugal": 3600.0}
        assert not lane.away
        assert caller.health.condition("small") == OPEN
        assert len(await gate.take_back(lane)) == 2
        # Whoever asks why it is slow is told of it.
        [told] = Brakes(caller.meters, time.monotonic()).read(time.monotonic() + 1, every=2.0)
        assert (told.deployment, told.brake, told.share) == ("small", brake, 1)
        wire.permits = 1
        wire.answers.set()
        Gate(caller, "small", "default", Door()).put(other, entries([7]))
        await until(lambda: other.ended == [7])

    asyncio.run(run())


def test_without_its_key_nothing_is_sent_and_the_deployment_is_closed() -> None:
    class NoKeys:
        def get(self, reference: str) -> str:
            raise ConfigError(f"{reference}: it is not set. Set it")

    async def run() -> None:
        wire, lane = Wire(permits=9), Lane()
        second = {"api_key": "env:LAB_KEY", "key_number": 2, "key_count": 2}
        keyed = {"small": replace(DEPLOYMENTS["small"], **second)}
        caller = Caller(keyed, NoKeys(), wire, wire, Health(keyed))
        gate = Gate(caller, "small", "default", Door())
        gate.put(lane, entries(range(2)))
        await until(lambda: lane.away)
        standing = caller.health.condition("small")
        assert (standing.status, standing.cause) == (DeploymentStatus.DISABLED, Cause.KEY)
        assert "key 2 of 2 (env:LAB_KEY): it is not set. Set it" in standing.reason
        assert standing.reason.count("env:LAB_KEY") == 1
        # Nothing was asked for, sent or counted: both can still be had back.
        assert (wire.asked, wire.called, lane.sent) == ([], [], 0)
        assert len(await gate.take_back(lane)) == 2
        assert not caller.meters.deployments

    asyncio.run(run())


def test_a_gate_that_breaks_down_says_so_and_calls_in_flight_land() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        lane = Lane()
        wire.permits = 1
        gate.put(lane, entries([1, 2]))
        await until(lambda: wire.called == [1])
        wire.permits = -1
        await until(lambda: bool(lane.errors))
        assert gate.broken
        assert "broken down" in str(lane.errors[0])
        wire.answers.set()
        await until(lambda: lane.ended == [1])
        assert wire.called == [1]

    play(scene)


def test_nothing_is_asked_for_when_nothing_waits() -> None:
    async def scene(gate: Gate, wire: Wire) -> None:
        lane = Lane()
        wire.answers.set()
        wire.permits = 3
        for count in (1, 2, 3):
            gate.put(lane, entries([count]))
            await until(partial(lane.has_ended, count))
        await asyncio.sleep(0.05)
        assert wire.asked == [1, 1, 1]

    play(scene)


@pytest.mark.parametrize("express", [True, False])
def test_express_entries_ask_for_the_share_that_is_kept_for_them(*, express: bool) -> None:
    async def run() -> None:
        wire = Wire(permits=1)
        wire.answers.set()
        caller = Caller(DEPLOYMENTS, {}, wire, wire)
        gate, lane = Gate(caller, "small", "default", Door(), express=express), Lane()
        gate.put(lane, entries([1]))
        await until(lambda: lane.ended == [1])
        assert wire.express is express

    asyncio.run(run())
