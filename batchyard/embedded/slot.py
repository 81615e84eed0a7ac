"""The life of one service: waiting, starting, ready, pausing after a death, stopping."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from batchyard.embedded import child
from batchyard.embedded.errors import EmbeddedError, ServiceStartError
from batchyard.embedded.home import Home, ServiceRecord, State
from batchyard.embedded.service import Restart, Service
from batchyard.embedded.space import is_full, require_space

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before restarts: doubling from `first_s` to `most_s`, forgotten after `calm_s`.

    A service which never got ready ends the start after `start_attempts` tries.
    """

    first_s: float = 0.25
    most_s: float = 30.0
    calm_s: float = 60.0
    start_attempts: int = 3

    def pause(self, deaths: int) -> float:
        """Seconds to wait after the n-th death in a row (n from 1)."""
        return min(self.most_s, self.first_s * 2.0 ** min(deaths - 1, 30))


class Slot:
    """One service with its current child. Driven by the supervisor's thread only."""

    def __init__(
        self,
        service: Service,
        home: Home,
        *,
        backoff: Backoff,
        on_death: Callable[[str, int], None],
    ) -> None:
        self.service = service
        self.state = State.WAITING
        self._home = home
        self._backoff = backoff
        self._on_death = on_death
        self._child: child.Child | None = None
        self._was_ready = False
        self._deaths = 0
        self._restarts = 0
        self._cpu_ended_s = 0.0
        self._last_exit: str | None = None
        self._since = 0.0
        self._deadline = 0.0

    @property
    def pid(self) -> int | None:
        """The live child's pid."""
        return self._child.pid if self._child else None

    @property
    def settled(self) -> bool:
        """Whether services that depend on this one may start."""
        return self.state in (State.READY, State.DONE)

    def record(self) -> ServiceRecord:
        """This service's part of services.json."""
        return ServiceRecord(
            name=self.service.name,
            state=self.state,
            pid=self.pid,
            port=self.service.port,
            metrics=self.service.metrics,
            restarts=self._restarts,
            cpu_ended_s=round(self._cpu_ended_s, 4),
            last_exit=self._last_exit,
        )

    def step(self, *, may_start: bool) -> None:
        """Take note of a death, start or restart if it is time, ask a starting child for readiness.

        Raises EmbeddedError when the service can't come up the first time.
        """
        self._reap()
        now = time.monotonic()
        if self.state is State.BACKOFF and now >= self._deadline:
            self.state = State.WAITING
        if self.state is State.WAITING and may_start:
            self._guarded(self._start)
        elif self.state is State.STARTING:
            self._guarded(self._ask)

    def ask_to_stop(self) -> None:
        """Begin a clean end; `step_stop` finishes it."""
        if self._child is None:
            self.state = State.DONE if self.state is State.DONE else State.STOPPED
            return
        self.state = State.STOPPING
        self._deadline = time.monotonic() + self.service.grace_s
        self._child.signal(self.service.stop_signal)

    def step_stop(self, *, hurry: bool) -> bool:
        """Whether it has ended; kills it after its grace (2 s at most when in a `hurry`)."""
        if self._child is None:
            return True
        if hurry:
            self._deadline = min(self._deadline, time.monotonic() + 2.0)
        if time.monotonic() >= self._deadline:
            _log.warning("%s didn't stop in time, killing it", self.service.name)
            self._child.kill()
        ended = self._child.poll()
        if ended is None:
            return False
        self._bury(ended)
        self.state = State.STOPPED
        return True

    def _guarded(self, action: Callable[[], None]) -> None:
        """Before the first readiness an error ends the start; later it is one more death."""
        try:
            action()
        except (EmbeddedError, OSError) as error:
            if isinstance(error, OSError) and not is_full(error):
                raise
            if self._child is not None:
                self._child.kill()
                ended = self._child.wait(10.0)
                if ended is not None:
                    self._bury(ended)
            if not self._was_ready:
                self.state = State.FAILED
                require_space(self._home.path)
                raise
            _log.error("%s: %s", self.service.name, error)
            if self._child is None:
                self._pause()

    def _start(self) -> None:
        self._since = time.monotonic()
        if self.service.prepare is not None:
            self.service.prepare()
        launch = child.Launch(
            self.service.argv,
            log=self._home.log(self.service.name),
            env=self.service.env,
            cwd=self.service.cwd,
            death_signal=self.service.death_signal,
            plain_user=self.service.plain_user,
        )
        self._child = child.start(launch)
        self._deadline = time.monotonic() + self.service.start_timeout_s
        self.state = State.STARTING
        _log.info("%s started (pid %d)", self.service.name, self._child.pid)

    def _ask(self) -> None:
        if self._child is None:
            return
        once = self.service.restart is Restart.ONCE
        if not once and self.service.ready(self._child.pid):
            self.state = State.READY
            self._was_ready = True
            _log.info("%s ready after %.1f s", self.service.name, time.monotonic() - self._since)
        elif time.monotonic() >= self._deadline:
            _log.error(
                "%s not up after %.0f s, killing it",
                self.service.name,
                self.service.start_timeout_s,
            )
            self._child.kill()

    def _reap(self) -> None:
        ended = self._child.poll() if self._child is not None else None
        if ended is None:
            return
        self._bury(ended)
        if self.service.restart is Restart.ONCE and ended.code == 0:
            self.state = State.DONE
            return
        _log.warning("%s died: %s", self.service.name, ended.how)
        self._pause()
        if not self._was_ready and self._gave_up():
            self.state = State.FAILED
            log = self._home.log(self.service.name)
            raise ServiceStartError(
                f"{self.service.name} doesn't start ({ended.how}); see {log}\n{child.tail(log)}"
            )

    def _gave_up(self) -> bool:
        once = self.service.restart is Restart.ONCE
        return once or self._deaths >= self._backoff.start_attempts

    def _pause(self) -> None:
        now = time.monotonic()
        if now - self._since >= self._backoff.calm_s:
            self._deaths = 0
        self._deaths += 1
        self._restarts += 1
        self._deadline = now + self._backoff.pause(self._deaths)
        self.state = State.BACKOFF

    def _bury(self, ended: child.Exit) -> None:
        if self._child is None:
            return
        pid, self._child = self._child.pid, None
        self._cpu_ended_s += ended.cpu_s
        self._last_exit = ended.how
        if self.service.restart is not Restart.ONCE:
            self._on_death(self.service.name, pid)

    def add_cpu(self, seconds: float) -> None:
        """Count CPU time of descendants that outlived their parent."""
        self._cpu_ended_s += seconds

    def next_deadline(self) -> float | None:
        """Monotonic time at which this slot wants to be stepped without any event."""
        if self.state is State.STARTING and self.service.restart is not Restart.ONCE:
            return time.monotonic() + 0.03
        return self._deadline if self.state in (State.BACKOFF, State.STARTING) else None


def in_order(services: Iterable[Service]) -> list[Service]:
    """Services so that each comes after those it depends on; names of absent ones are ignored.

    An absent name is a service that runs elsewhere. Raises ValueError on a name used twice or on
    a circle.
    """
    left = list(services)
    names = {service.name for service in left}
    if len(names) != len(left):
        raise ValueError("two services have the same name: give each its own")
    ordered: list[Service] = []
    placed: set[str] = set()
    while left:
        free = [s for s in left if placed.issuperset(names.intersection(s.depends_on))]
        if not free:
            circle = ", ".join(service.name for service in left)
            raise ValueError(f"services depend on each other in a circle: {circle}")
        ordered.extend(free)
        placed.update(service.name for service in free)
        left = [service for service in left if service not in free]
    return ordered
