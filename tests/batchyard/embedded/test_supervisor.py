"""The supervisor with small services of our own, in this process."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batchyard.embedded import child, processes
from batchyard.embedded.errors import ServiceStartError, UserNamespaceError
from batchyard.embedded.home import Home, State, YardRecord
from batchyard.embedded.service import Restart, Service
from batchyard.embedded.slot import Backoff
from batchyard.embedded.supervisor import Supervisor

QUICK = Backoff(first_s=0.01, most_s=0.05)
needs_linux = pytest.mark.skipif(not processes.LINUX, reason="the kernel feature is Linux's")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "yard")
    home.create()
    return home


def shell(name: str, script: str, *needs: str, **options: object) -> Service:
    return Service(name=name, argv=["sh", "-c", script], depends_on=needs, **options)  # type: ignore[arg-type]


def file_exists(path: Path) -> Callable[[int], bool]:
    return lambda pid: path.exists()


def run(home: Home, *services: Service, **options: object) -> None:
    Supervisor(home, services, backoff=QUICK, **options).run()  # type: ignore[arg-type]


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def stop_me(record: YardRecord) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_starts_in_order_and_stops_in_reverse(home: Home, tmp_path: Path) -> None:
    said = tmp_path / "said"

    def lasting(name: str, *needs: str) -> Service:
        up = tmp_path / f"{name}.up"
        script = (
            f"trap 'echo {name}-ends >> {said}; exit 0' TERM; "
            f"echo {name} >> {said}; touch {up}; while :; do sleep 0.01; done"
        )
        return shell(name, script, *needs, ready=file_exists(up))

    migrate = shell("migrate", f"echo migrate >> {said}", "database", restart=Restart.ONCE)
    run(
        home,
        lasting("worker", "migrate", "database", "not-ours"),
        migrate,
        lasting("database"),
        on_ready=stop_me,
    )
    assert lines(said) == ["database", "migrate", "worker", "worker-ends", "database-ends"]
    record = home.record()
    assert record is not None
    assert record.state is State.STOPPED
    assert [s.state for s in record.services] == [State.STOPPED, State.DONE, State.STOPPED]
    assert home.running() is None


def test_dead_child_is_reported_and_started_again(home: Home) -> None:
    deaths: list[tuple[str, int]] = []
    first: list[int | None] = []

    def kill_it(record: YardRecord) -> None:
        first.extend(service.pid for service in record.services)
        assert first[0] is not None
        os.kill(first[0], signal.SIGKILL)

    def died(name: str, pid: int) -> None:
        deaths.append((name, pid))
        if len(deaths) == 1:
            raise OSError("the database is away")
        supervisor.stop()

    script = f"test -e {home.run}/again && exit 3; touch {home.run}/again; exec sleep 60"
    supervisor = Supervisor(
        home, [shell("worker", script)], on_child_death=died, on_ready=kill_it, backoff=QUICK
    )
    supervisor.run()
    assert deaths[0] == ("worker", first[0])
    assert len(deaths) == 2
    record = home.record()
    assert record is not None
    assert record.services[0].restarts == 2
    assert record.services[0].last_exit == "exit code 3"


def test_failed_step_ends_the_start_with_its_words(home: Home) -> None:
    step = shell("migrate", "echo no such table; exit 4", "server", restart=Restart.ONCE)
    with pytest.raises(ServiceStartError, match=r"(?s)migrate.*exit code 4.*no such table"):
        run(home, shell("server", "exec sleep 60"), step)
    record = home.record()
    assert record is not None
    assert record.state is State.FAILED
    assert "no such table" in (record.error or "")
    assert all(service.pid is None for service in record.services)


def test_service_that_never_comes_up_ends_the_start(home: Home) -> None:
    service = shell("web", "echo tried; exit 1", ready=lambda pid: False)
    with pytest.raises(ServiceStartError, match="web doesn't start"):
        run(home, service)
    assert lines(home.log("web")) == ["tried"] * QUICK.start_attempts


def test_service_without_readiness_is_killed_after_its_time(home: Home) -> None:
    service = shell("web", "exec sleep 60", ready=lambda pid: False, start_timeout_s=0.05)
    with pytest.raises(ServiceStartError, match="SIGKILL"):
        run(home, service)


def test_deaf_service_is_killed_after_its_grace(home: Home, tmp_path: Path) -> None:
    up = tmp_path / "up"
    script = f"trap '' TERM; touch {up}; while :; do sleep 0.01; done"
    run(home, shell("deaf", script, grace_s=0.1, ready=file_exists(up)), on_ready=stop_me)
    record = home.record()
    assert record is not None
    assert record.services[0].last_exit == "killed by SIGKILL"


@needs_linux
def test_helpers_of_a_dead_child_end_too(home: Home, tmp_path: Path) -> None:
    written = tmp_path / "helper"
    code = (
        "import os, sys, time, pathlib\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    path = pathlib.Path({str(written)!r})\n"
        "    path.with_suffix('.tmp').write_text(str(os.getpid()))\n"
        "    path.with_suffix('.tmp').rename(path)\n"
        "time.sleep(60)\n"
    )
    service = Service(name="worker", argv=[sys.executable, "-c", code], ready=file_exists(written))
    alive: list[bool] = []

    def kill_it(record: YardRecord) -> None:
        alive.append(processes.alive(int(written.read_text())))
        os.kill(record.services[0].pid or 0, signal.SIGKILL)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    supervisor = Supervisor(home, [service], on_ready=kill_it, backoff=Backoff(first_s=30.0))
    supervisor.run()
    assert alive == [True]
    assert not processes.alive(int(written.read_text()))


@needs_linux
def test_cpu_of_all_lives_and_descendants_is_counted(home: Home) -> None:
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.2: pass'"
    seen: list[dict[str, float]] = []

    def look(name: str, pid: int) -> None:
        seen.append(supervisor.cpu_seconds())
        if len(seen) == 2:
            supervisor.stop()

    supervisor = Supervisor(
        home, [shell("burner", f"{burn}; true")], on_child_death=look, backoff=QUICK
    )
    supervisor.run()
    assert seen[0]["burner"] >= 0.2
    assert seen[1]["burner"] >= 0.4
    assert seen[1]["supervisor"] > 0


def test_circle_and_double_names_are_refused(home: Home) -> None:
    with pytest.raises(ValueError, match="circle: a, b"):
        Supervisor(home, [shell("a", "true", "b"), shell("b", "true", "a")])
    with pytest.raises(ValueError, match="same name"):
        Supervisor(home, [shell("a", "true"), shell("a", "true")])


def test_pauses_double_up_to_the_most() -> None:
    backoff = Backoff(first_s=0.5, most_s=3.0)
    assert [backoff.pause(n) for n in (1, 2, 3, 4, 5000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_unknown_program_is_a_clear_error(home: Home) -> None:
    with pytest.raises(ServiceStartError, match="no-such-program: No such file"):
        run(home, Service(name="x", argv=["no-such-program"]))


@needs_linux
def test_forbidden_user_namespace_names_the_ways_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(child, "needs_namespace", lambda: True)
    monkeypatch.setattr(processes, "enter_user_namespace", forbidden)
    with pytest.raises(UserNamespaceError, match=r"ordinary user.*BATCHYARD_DATABASE_URL"):
        run(home, shell("postgres", "true", plain_user=True))


def test_big_log_is_moved_aside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_LOG_LIMIT", 10)
    log = home.log("x")
    for text in (b"first long line\n", b"second\n"):
        with child.open_log(log) as output:
            output.write(text)
    assert log.read_bytes() == b"second\n"
    assert log.with_name("x.log.1").read_bytes() == b"first long line\n"


def test_a_log_is_cut_while_its_service_runs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_LOG_LIMIT", 1000)
    script = "while true; do echo a line of the talkative service; sleep 0.01; done"
    log = home.log("talker")
    aside = log.with_name("talker.log.1")

    def cut(_: str, __: int) -> None:
        """Every end of the other service lets the supervisor look again."""
        if aside.exists() and log.read_text().startswith("a line of"):
            os.kill(os.getpid(), signal.SIGINT)

    ticker = shell("ticker", "sleep 0.1; exit 1", ready=lambda _pid: True)
    run(home, shell("talker", script), ticker, on_child_death=cut)
    assert aside.read_text().startswith("a line of the talkative service\n")
    assert aside.stat().st_mode & 0o077 == 0
    assert "\0" not in log.read_text()
