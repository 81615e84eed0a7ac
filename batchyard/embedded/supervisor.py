"""The supervisor: starts services in order, keeps them running, stops them in reverse order.

One thread. It sleeps until a child ends, a signal arrives or a pause is over. It must live in
the thread that starts the children, because the kernel's death signal follows that thread.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType

from batchyard.embedded import child, processes
from batchyard.embedded.errors import EmbeddedError
from batchyard.embedded.home import Home, State, YardRecord
from batchyard.embedded.service import Service
from batchyard.embedded.slot import Backoff, Slot, in_order
from batchyard.embedded.space import is_full

_log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a yard is found: URLs, empty where they are not its own, and the port of the
    supervisor's `/metrics`."""

    database_url: str = ""
    broker_url: str = ""
    flower_url: str = ""
    supervisor_metrics: int | None = None


class Supervisor:
    """Runs services until a SIGINT, SIGTERM or SIGHUP, or `stop`.

    `addresses` are only published in services.json. `on_child_death(name, pid)` is called after
    every end of a service's process, in this thread; it should be quick, and what it raises is
    logged. `on_ready(record)` is called once, when all services are up.
    """

    def __init__(
        self,
        home: Home,
        services: Sequence[Service],
        *,
        addresses: Addresses | None = None,
        on_child_death: Callable[[str, int], None] | None = None,
        on_ready: Callable[[YardRecord], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._home = home
        self._addresses = addresses or Addresses()
        self._on_child_death = on_child_death
        self._on_ready = on_ready
        self._state = State.STARTING
        self._error: str | None = None
        self._published: YardRecord | None = None
        self._full = False
        self._stop_asked = 0
        self._last_dead: Slot | None = None
        self._strangers: frozenset[int] = frozenset()
        self._slots = {
            service.name: Slot(
                service, home, backoff=backoff or Backoff(), on_death=self._child_died
            )
            for service in in_order(services)
        }

    def run(self) -> None:
        """Start everything, keep it up until asked to stop, and stop everything.

        Raises HomeLockedError when the home is taken, and what kept a service from its first
        readiness (ServiceStartError, WrongVersionError, UserNamespaceError), after stopping the
        others.
        """
        with self._home.lock(), self._adoption(), self._signals() as wake:
            self._publish()
            try:
                self._keep(wake)
            except EmbeddedError as error:
                self._error = str(error)
                raise
            finally:
                self._stop_all(wake)

    def stop(self) -> None:
        """Ask `run` to end; the second call makes it hurry. For callbacks and signal handlers."""
        self._stop_asked += 1

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far by service, its ended incarnations and all descendants included.

        The supervisor's own are under "supervisor".
        """
        return cpu_of(self._record(), alive=True)

    def _keep(self, wake: int) -> None:
        while not self._stop_asked:
            for slot in self._slots.values():
                slot.step(may_start=self._may_start(slot))
            self._end_orphans()
            for log in self._home.logs.glob("*.log"):
                child.cut_log(log)
            if self._state is State.STARTING and all(s.settled for s in self._slots.values()):
                self._state = State.READY
                if self._on_ready is not None:
                    self._on_ready(self._record())
            self._publish()
            if not self._stop_asked:
                self._sleep(wake)

    def _may_start(self, slot: Slot) -> bool:
        needed = [self._slots.get(name) for name in slot.service.depends_on]
        return all(other.settled for other in needed if other is not None)

    def _stop_all(self, wake: int) -> None:
        """Each service stops after those that depend on it; independent ones stop together."""
        self._state = State.STOPPING
        self._stop_asked = max(self._stop_asked, 1)
        self._publish()
        left = dict(self._slots)
        asked: set[str] = set()
        while left:
            needed = {name for slot in left.values() for name in slot.service.depends_on}
            for name in [name for name in left if name not in needed]:
                if name not in asked:
                    asked.add(name)
                    left[name].ask_to_stop()
                if left[name].step_stop(hurry=self._stop_asked > 1):
                    del left[name]
            self._publish()
            if left:
                self._sleep(wake, at_most_s=0.05)
        self._end_orphans()
        self._state = State.FAILED if self._error else State.STOPPED
        self._publish()

    def _child_died(self, name: str, pid: int) -> None:
        self._last_dead = self._slots[name]
        if self._on_child_death is None:
            return
        try:
            self._on_child_death(name, pid)
        except Exception:  # noqa: BLE001
            # A stranger's callback must not take the yard down with it.
            _log.exception("the callback for the death of %s (pid %d) failed", name, pid)

    def _end_orphans(self) -> None:
        if self._last_dead is not None:
            known = {slot.pid for slot in self._slots.values() if slot.pid is not None}
            self._last_dead.add_cpu(processes.end_adopted(known | self._strangers))
            self._last_dead = None

    def _sleep(self, wake: int, *, at_most_s: float = _IDLE_S) -> None:
        deadlines = [slot.next_deadline() for slot in self._slots.values()]
        now = time.monotonic()
        waits = [max(0.0, deadline - now) for deadline in deadlines if deadline is not None]
        readable, _, _ = select.select([wake], [], [], min([at_most_s, *waits]))
        if readable:
            os.read(wake, 4096)

    def _record(self) -> YardRecord:
        return YardRecord(
            supervisor_pid=os.getpid(),
            state=self._state,
            error=self._error,
            supervisor_cpu_s=round(time.process_time(), 1),
            services=tuple(slot.record() for slot in self._slots.values()),
            **asdict(self._addresses),
        )

    def _publish(self) -> None:
        record = self._record()
        if record == self._published:
            return
        try:
            self._home.write_record(record)
        except OSError as error:
            if not is_full(error):
                raise
            # Said once. It is tried again with the next step, and services are kept up meanwhile.
            if not self._full:
                _log.error("no space left in %s: free some; all goes on then", self._home.path)
            self._full = True
            return
        self._published, self._full = record, False

    @contextmanager
    def _adoption(self) -> Iterator[None]:
        """Adopt what dead services leave behind; children from before `run` are let be."""
        self._strangers = frozenset(processes.adopted(()))
        processes.adopt_orphans(True)
        try:
            yield
        finally:
            processes.adopt_orphans(False)

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Signal handlers while running; yields the descriptor that wakes `_sleep`."""
        receiver, sender = os.pipe()
        os.set_blocking(receiver, False)
        os.set_blocking(sender, False)

        def stop(number: int, _frame: FrameType | None) -> None:
            _log.info("%s: stopping", signal.Signals(number).name)
            self.stop()

        def nothing(_number: int, _frame: FrameType | None) -> None:
            return

        before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, nothing)
        before_wake = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(before_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(receiver)
            os.close(sender)


def cpu_of(record: YardRecord, *, alive: bool) -> dict[str, float]:
    """CPU seconds by service name, plus "supervisor"; `alive` when its pids are still its own.

    From services.json (children that ended, by wait4) and /proc (live ones with all their
    descendants). Without /proc only ended ones are counted.
    """
    live = {s.name: s.pid for s in record.services if alive and s.pid is not None}
    trees = processes.tree_cpu_seconds(live)
    sums = {s.name: s.cpu_ended_s + trees.get(s.name, 0.0) for s in record.services}
    own = processes.own_cpu_seconds(record.supervisor_pid) if alive else 0.0
    sums["supervisor"] = max(own, record.supervisor_cpu_s)
    return sums
