"""The state folder: all that a yard keeps on disk, and the only place it writes to.

    postgres/ valkey/   data of the servers
    logs/NAME.log       output of every child
    run/                lock, ports, passing files
    secrets.json        generated passwords (0600)
    services.json       what runs now and where (0600, holds URLs with passwords)

Removing the folder is the reset.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from batchyard.embedded import processes
from batchyard.embedded.errors import HomeLockedError, HomeOwnerError
from batchyard.embedded.ports import free_port, take_port

SUPERVISOR: Final = "supervisor"
"""What the yard's own process is called beside its services."""


class State(StrEnum):
    """State of one service, and (starting, ready, stopping, stopped, failed) of the yard."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    DONE = "done"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Secrets(msgspec.Struct, frozen=True):
    """Generated passwords (32 hex digits each, safe in a URL)."""

    postgres: str
    valkey: str
    flower: str


class ServiceRecord(msgspec.Struct, frozen=True):
    """One child as seen by the supervisor.

    `cpu_ended_s` counts user plus system seconds of its ended incarnations only. `metrics` is
    the port of its `/metrics`.
    """

    name: str
    state: State
    pid: int | None = None
    port: int | None = None
    metrics: int | None = None
    restarts: int = 0
    cpu_ended_s: float = 0.0
    last_exit: str | None = None


class YardRecord(msgspec.Struct, frozen=True):
    """The contents of services.json. URLs are those given to the supervisor."""

    supervisor_pid: int
    state: State
    error: str | None = None
    database_url: str = ""
    broker_url: str = ""
    flower_url: str = ""
    supervisor_cpu_s: float = 0.0
    supervisor_metrics: int | None = None
    services: tuple[ServiceRecord, ...] = ()

    def service(self, name: str) -> ServiceRecord | None:
        """The record of one service, None when the yard has none of that name."""
        return next((service for service in self.services if service.name == name), None)


class Home:
    """A state folder. Made on first use; raises HomeOwnerError when another user owns it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().resolve()
        self.postgres = self.path / "postgres"
        self.valkey = self.path / "valkey"
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self._services = self.path / "services.json"
        self._lock_descriptor: int | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Home":
        """The folder named by BATCHYARD_HOME, `.batchyard` in the working directory by default."""
        return cls(environ.get("BATCHYARD_HOME") or ".batchyard")

    def create(self) -> None:
        """Make the folders, readable by their owner alone."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise HomeOwnerError(
                f"the state folder {self.path} belongs to uid {owner} and this process is uid "
                f"{os.geteuid()}: run as that user, or set BATCHYARD_HOME to another folder"
            )
        for folder in (self.postgres, self.valkey, self.logs, self.run):
            folder.mkdir(mode=0o700, exist_ok=True)

    def log(self, name: str) -> Path:
        """The log file of a service."""
        return self.logs / f"{name}.log"

    def secrets(self) -> Secrets:
        """The generated passwords, made on first call."""
        self.create()
        path = self.path / "secrets.json"
        if not path.exists():
            fresh = Secrets(*(secrets.token_hex(16) for _ in range(3)))
            written = self._write(f"secrets.{os.getpid()}", msgspec.json.encode(fresh))
            try:
                # A link, not a rename: of two processes at once, the first one wins.
                os.link(written, path)
            except FileExistsError:
                pass
            finally:
                written.unlink()
        return msgspec.json.decode(path.read_bytes(), type=Secrets)

    def port(self, name: str) -> int:
        """A free TCP port on 127.0.0.1 for a service, the same as last time if still free. No other
        yard is given it while this process lives."""
        self.create()
        path = self.run / "ports.json"
        ports = msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}
        owner = str(self.path)
        if name not in ports or not take_port(ports[name], owner):
            ports[name] = free_port(owner, exclude=set(ports.values()))
            self._write("ports", msgspec.json.encode(ports)).replace(path)
        return ports[name]

    def write_record(self, record: YardRecord) -> None:
        """Replace services.json in one step."""
        text = msgspec.json.format(msgspec.json.encode(record), indent=2)
        self._write("services", text).replace(self._services)

    def forget_record(self) -> None:
        """Remove services.json, e.g. one left over from a killed supervisor."""
        self._services.unlink(missing_ok=True)

    def record(self) -> YardRecord | None:
        """The last services.json, whether or not its supervisor lives. See `running`."""
        try:
            return msgspec.json.decode(self._services.read_bytes(), type=YardRecord)
        except FileNotFoundError:
            return None

    def running(self) -> YardRecord | None:
        """services.json if a live supervisor stands behind it, else None.

        Held lock and live pid both count, so a file left by a kill -9 isn't believed.
        """
        record = self.record()
        if record is None or not self.locked() or not processes.alive(record.supervisor_pid):
            return None
        return record

    def locked(self) -> bool:
        """Whether some live process (this one included) holds the lock of this home."""
        if self._lock_descriptor is not None:
            return True
        try:
            descriptor = os.open(self.run / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only supervisor of this home; may be nested. The kernel frees it at any death.

        Raises HomeLockedError when another process holds it.
        """
        if self._lock_descriptor is not None:
            yield
            return
        self.create()
        descriptor = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(descriptor)
            self._lock_descriptor = descriptor
            yield
        finally:
            self._lock_descriptor = None
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        # `locked` of another process may hold it for a moment.
        for _ in range(20):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                return
        record = self.record()
        whose = f" (pid {record.supervisor_pid})" if record else ""
        raise HomeLockedError(
            f"a yard already runs in {self.path}{whose}: use it, stop it with `batchyard down`, "
            f"or set BATCHYARD_HOME to another folder"
        )

    def _write(self, name: str, data: bytes) -> Path:
        path = self.run / f"{name}.tmp"
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path
