"""What the kernel offers for keeping children: death signals, user namespaces, /proc.

Everything here is Linux only and guarded: elsewhere the functions do nothing or return nothing.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

LINUX = sys.platform == "linux"

# linux/prctl.h and linux/sched.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000

# Loaded before any fork: a forked child must not take the loader's locks.
_LIBC = ctypes.CDLL(None, use_errno=True) if LINUX else None
_PROC = Path("/proc")


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_death_signal(number: int) -> None:
    """Ask for this signal when the parent *thread* dies. Cleared by any change of user."""
    if _LIBC is not None:
        _check(_LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def adopt_orphans(yes: bool) -> None:
    """Become the parent of orphaned descendants, so that they can be found and ended."""
    if _LIBC is not None:
        _check(_LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0))


def enter_user_namespace(inside: int = 1000) -> None:
    """Make this process uid and gid `inside` in its own eyes, while files stay with the outer user.

    Postgres refuses uid 0. Mapping one uid needs no helper program and creates no user.
    Raises OSError where user namespaces are forbidden.
    """
    if _LIBC is None:
        return
    uid, gid = os.geteuid(), os.getegid()
    _check(_LIBC.unshare(_CLONE_NEWUSER))
    # The kernel demands this before an unprivileged gid_map.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1")


def alive(pid: int) -> bool:
    """Whether the pid is in use by anyone (a zombie counts)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _pids() -> Iterable[int]:
    if not LINUX:
        return []
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on (field 3 of proc(5) is index 0)."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _cpu(fields: list[str], *, with_waited: bool) -> float:
    last = 15 if with_waited else 13
    return sum(int(ticks) for ticks in fields[11:last]) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds(pid: int) -> float:
    """User plus system seconds of one live process alone; 0 when it is gone."""
    fields = _stat(pid)
    return _cpu(fields, with_waited=False) if fields else 0.0


def tree_cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """User plus system seconds of each root with all its descendants, living or waited for.

    Descendants which were re-parented away are not found. Empty where there is no /proc.
    """
    stats = {pid: fields for pid in _pids() if (fields := _stat(pid))}
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    sums = {}
    for name, root in roots.items():
        todo, total = [root], 0.0
        while todo:
            pid = todo.pop()
            todo.extend(children.get(pid, ()))
            if pid in stats:
                total += _cpu(stats[pid], with_waited=True)
        sums[name] = total
    return sums


def adopted(known: Iterable[int]) -> list[int]:
    """Our children by adoption: not `known`, and of another session than ours.

    Every service leads its own session, so this never names a plain subprocess of ours, but it
    does name one started with a session of its own.
    """
    me, session, known = os.getpid(), os.getsid(0), set(known)
    found = []
    for pid in _pids():
        fields = _stat(pid) if pid not in known else None
        if fields and int(fields[1]) == me and int(fields[3]) != session:
            found.append(pid)
    return found


def end_adopted(known: Iterable[int]) -> float:
    """Kill and reap what ended children left behind; returns the CPU seconds it had used.

    Their helpers must not outlive them, and Postgres won't restart before its last backend has
    gone. Gives up on a process that takes more than 2 s to die: the next call finds it again.
    """
    known, used = set(known), 0.0
    deadline = time.monotonic() + 2.0
    while (left := adopted(known)) and time.monotonic() < deadline:
        for pid in left:
            send(pid, signal.SIGKILL)
            reaped, _, usage = os.wait4(pid, os.WNOHANG)
            used += usage.ru_utime + usage.ru_stime if reaped else 0.0
        time.sleep(0.01)
    return used


def pids_in_folder(folder: Path) -> list[int]:
    """Live processes whose working directory is exactly this folder (servers chdir to theirs)."""
    target, found = str(folder.resolve()), []
    for pid in _pids():
        try:
            where = str((_PROC / str(pid) / "cwd").readlink())
        except OSError:
            continue
        if where == target:
            found.append(pid)
    return found


def clear_folder(folder: Path, *, patience_s: float) -> list[int]:
    """Wait for leftovers of an earlier run to leave the folder, then end them.

    Returns the pids that are still there after twice `patience_s` seconds (normally none).
    """
    for number in (0, signal.SIGKILL):
        deadline = time.monotonic() + patience_s
        while left := pids_in_folder(folder):
            if time.monotonic() > deadline:
                break
            for pid in left:
                send(pid, number)
            time.sleep(0.05)
    return left


def send(pid: int, number: int) -> bool:
    """Send a signal; False when the process is already gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
