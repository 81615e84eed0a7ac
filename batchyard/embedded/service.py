"""What the supervisor is told about a service."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path


class Restart(Enum):
    """What happens when the process ends by itself."""

    ALWAYS = auto()
    """It is started again, with growing pauses."""
    ONCE = auto()
    """It is a step of the start (a migration): exit code 0 is its success, anything else ends
    the start. Services depending on it wait for its end."""


def _at_once(_pid: int) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process to be kept running.

    `prepare` runs before every start; `ready` is asked with the child's pid until it says True
    (both in the supervisor's thread: they should be quick and may raise EmbeddedError).
    `env` is the complete environment, None inherits the supervisor's. `stop_signal` asks for a
    clean end, followed by SIGKILL after `grace_s` seconds. `death_signal` reaches the child when
    the supervisor is killed. `plain_user`: not as root. `port` is only recorded, and so is
    `metrics`, the port of its `/metrics`.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    prepare: Callable[[], None] | None = None
    ready: Callable[[int], bool] = _at_once
    depends_on: tuple[str, ...] = ()
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    grace_s: float = 10.0
    start_timeout_s: float = 60.0
    restart: Restart = Restart.ALWAYS
    plain_user: bool = False
    port: int | None = None
    metrics: int | None = None


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a database server needs of our environment: no API keys, no PG* variables."""
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: environ[name] for name in kept if name in environ} | {"TZ": "UTC"}
