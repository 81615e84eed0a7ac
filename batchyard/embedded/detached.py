"""A supervisor in the background: start it, wait for it, stop it, ask what it used."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from batchyard.embedded import child, processes
from batchyard.embedded.errors import HomeLockedError, ServiceStartError, StopTimeoutError
from batchyard.embedded.home import Home, State, YardRecord
from batchyard.embedded.supervisor import cpu_of

LOG_NAME = "supervisor"


def spawn_detached(
    argv: Sequence[str],
    home: Home,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 120.0,
    while_waiting: Callable[[YardRecord | None], None] | None = None,
) -> YardRecord:
    """Run `argv`, a program that runs a Supervisor on `home`, in a session of its own.

    Its output goes to logs/supervisor.log. Returns once all services are ready. `while_waiting`
    is called with the record so far every tenth of a second.
    Raises HomeLockedError when a yard runs already, ServiceStartError when it ends or isn't ready
    in time (it is then stopped).
    """
    process = spawn(argv, home, env=env, cwd=cwd)
    record = wait_ready(process, home, timeout_s=timeout_s, while_waiting=while_waiting)
    # It outlives us as a rule; if we outlive it, it should not stay a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    return record


def spawn(
    argv: Sequence[str],
    home: Home,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """The first half of `spawn_detached`: start it and don't wait. Then call `wait_ready`."""
    home.create()
    running = home.running()
    if running is not None:
        raise HomeLockedError(
            f"a yard already runs in {home.path} (pid {running.supervisor_pid}): use it, or stop "
            f"it with `batchyard down`"
        )
    home.forget_record()
    with child.open_log(home.log(LOG_NAME)) as output:
        return subprocess.Popen(
            list(argv),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait_ready(
    process: subprocess.Popen[bytes],
    home: Home,
    *,
    timeout_s: float,
    while_waiting: Callable[[YardRecord | None], None] | None = None,
) -> YardRecord:
    """Wait until the supervisor started as `process` says that all is ready.

    Raises ServiceStartError with its error, or the end of its log, when that doesn't happen.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        record = home.record()
        if record is not None and record.state is State.READY:
            return record
        if process.poll() is not None:
            raise ServiceStartError(_why(home, process.returncode))
        if while_waiting is not None:
            while_waiting(record)
        time.sleep(0.1)
    process.terminate()
    raise ServiceStartError(
        f"the yard wasn't ready after {timeout_s:.0f} s; see {home.log(LOG_NAME)}\n"
        f"{child.tail(home.log(LOG_NAME))}"
    )


def _why(home: Home, code: int) -> str:
    record = home.record()
    if record is not None and record.error:
        return record.error
    log = home.log(LOG_NAME)
    return f"the supervisor ended at once (exit code {code}); see {log}\n{child.tail(log)}"


def stop(home: Home, *, timeout_s: float = 90.0) -> bool:
    """Stop the yard of this home and wait for its end; False when none runs.

    Raises StopTimeoutError when it is still there after `timeout_s` seconds.
    """
    record = home.running()
    if record is None:
        return False
    processes.send(record.supervisor_pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while home.locked():
        if time.monotonic() > deadline:
            raise StopTimeoutError(
                f"the supervisor (pid {record.supervisor_pid}) still runs after "
                f"{timeout_s:.0f} s: look at {home.log(LOG_NAME)}, or end it with "
                f"`kill -9 {record.supervisor_pid}` (its children end with it, no data is lost)"
            )
        time.sleep(0.05)
    return True


def cpu_seconds(home: Home) -> dict[str, float]:
    """CPU seconds so far by service name, plus "supervisor"; also after the yard has stopped.

    Empty when no yard ever ran here.
    """
    running = home.running()
    record = running or home.record()
    return cpu_of(record, alive=running is not None) if record is not None else {}
