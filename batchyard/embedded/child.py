"""One direct child process: how it is started, watched and ended."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batchyard.embedded import processes
from batchyard.embedded.errors import ServiceStartError, UserNamespaceError
from batchyard.embedded.space import is_full

_LOG_LIMIT = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a process.

    `death_signal` reaches it when the supervisor dies without a goodbye (Linux).
    `plain_user`: when we are root, run it in a user namespace where it isn't.
    """

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    death_signal: int = signal.SIGKILL
    plain_user: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: exit code (negative: killed by that signal) and its CPU seconds."""

    code: int
    cpu_s: float

    @property
    def how(self) -> str:
        """In words: "exit code 1", "killed by SIGKILL"."""
        if self.code >= 0:
            return f"exit code {self.code}"
        return f"killed by {signal.Signals(-self.code).name}"


class Child:
    """A running direct child, leader of its own session so that a Ctrl-C doesn't reach it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        self.exit: Exit | None = None

    def poll(self) -> Exit | None:
        """Reap the child if it has ended; None while it runs."""
        if self.exit is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                # Popen must not wait for a pid that is already reaped.
                self._process.returncode = code
                self.exit = Exit(code, usage.ru_utime + usage.ru_stime)
        return self.exit

    def wait(self, timeout_s: float) -> Exit | None:
        """Poll until the child has ended or the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.exit

    def signal(self, number: int) -> None:
        """Signal the child alone."""
        if self.exit is None:
            processes.send(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the child and its process group."""
        if self.exit is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                processes.send(self.pid, signal.SIGKILL)


def needs_namespace() -> bool:
    """Whether a server that refuses root has to be put into a user namespace."""
    return os.geteuid() == 0


def _in_child(parent: int, death_signal: int, plain_user: bool) -> Callable[[], None]:
    def prepare() -> None:
        if plain_user:
            processes.enter_user_namespace()
        # After the unshare: a change of credentials clears the death signal.
        processes.set_death_signal(death_signal)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def open_log(log: Path) -> BinaryIO:
    """Open a log for appending; one above 10 MB is set aside first."""
    log.touch(mode=0o600)
    cut_log(log)
    return log.open("ab")


def cut_log(log: Path) -> None:
    """Set aside what a log holds once it is larger than 10 MB; one old file is kept.

    Its writers go on: they append, so they find the beginning again by themselves. A line that
    is written in the very moment may be lost. Where there is no space for the old file, there is
    none.
    """
    if log.stat().st_size <= _LOG_LIMIT:
        return
    aside = log.with_name(log.name + ".1")
    aside.touch(mode=0o600)
    try:
        shutil.copyfile(log, aside)
    except OSError as error:
        if not is_full(error):
            raise
        aside.unlink()
    os.truncate(log, 0)


def start(launch: Launch) -> Child:
    """Start a direct child. Call it from a thread that lives as long as the child should.

    Raises UserNamespaceError when root may not create one, ServiceStartError when the program
    can't be executed.
    """
    plain_user = launch.plain_user and needs_namespace()
    if plain_user and not processes.LINUX:
        raise UserNamespaceError(_AS_ROOT)
    try:
        with open_log(launch.log) as output:
            process = subprocess.Popen(
                list(launch.argv),
                env=dict(launch.env) if launch.env is not None else None,
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Only system calls run between fork and exec.
                preexec_fn=_in_child(  # noqa: PLW1509
                    os.getpid(), launch.death_signal, plain_user
                ),
            )
    except subprocess.SubprocessError as error:
        raise UserNamespaceError(_AS_ROOT) from error
    except OSError as error:
        raise ServiceStartError(f"can't run {launch.argv[0]}: {error.strerror}") from error
    return Child(process)


_AS_ROOT = (
    "Postgres refuses to run as root and this system forbids the user namespace that would hide "
    "it: run batchyard as an ordinary user, or set BATCHYARD_DATABASE_URL to your own Postgres"
)


def run_to_end(launch: Launch, *, timeout_s: float) -> None:
    """Run a helper program to its end.

    Raises ServiceStartError, with the end of its log, on a non-zero exit or a time-out.
    """
    child = start(launch)
    ended = child.wait(timeout_s)
    if ended is None:
        child.kill()
        child.wait(5.0)
    if ended is None or ended.code != 0:
        name = Path(launch.argv[0]).name
        how = ended.how if ended else f"not done after {timeout_s:.0f} s"
        raise ServiceStartError(f"{name} failed ({how}); see {launch.log}\n{tail(launch.log)}")


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for error messages; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
