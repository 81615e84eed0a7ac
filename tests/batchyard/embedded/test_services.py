"""Real Postgres and Valkey: restarts, kill -9 of each, and where they may run."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from batchyard.embedded import processes
from batchyard.embedded.detached import cpu_seconds, spawn_detached, stop
from batchyard.embedded.errors import HomeLockedError, ServiceStartError
from batchyard.embedded.home import Home
from batchyard.embedded.testing import RunningServices, start_services

ROOT = Path(__file__).parents[3]
NOBODY = 65534
needs_linux = pytest.mark.skipif(not processes.LINUX, reason="the kernel feature is Linux's")


def until(what: Callable[[], bool], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def pid_of(home: Home, name: str) -> int:
    record = home.record()
    service = record.service(name) if record else None
    assert service is not None
    assert service.pid is not None
    return service.pid


def restarted(home: Home, name: str) -> bool:
    record = home.running()
    service = record.service(name) if record else None
    return service is not None and service.restarts > 0 and service.state.value == "ready"


def write(services: RunningServices, n: int) -> None:
    with psycopg.connect(services.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, %s)", (n,))
    broker = redis.Redis.from_url(services.broker_url)
    broker.rpush("kept", *range(n))
    broker.close()


def count(services: RunningServices) -> tuple[int, int]:
    with psycopg.connect(services.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    broker = redis.Redis.from_url(services.broker_url)
    kept = broker.llen("kept")
    broker.close()
    assert row is not None
    assert isinstance(kept, int)
    return row[0], kept


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_data_lives_on_and_nothing_is_touched_outside(tmp_path: Path) -> None:
    # Longer than a socket path may be, and with a blank.
    parent = tmp_path / "a folder" / "/".join(["deeper"] * 15)
    parent.mkdir(parents=True)
    above = [parent, *parent.parents]
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    with start_services(parent / "yard") as services:
        write(services, 100)
        if processes.LINUX:
            for name in ("postgres", "valkey"):
                shown = command_line(pid_of(services.home, name))
                assert services.home.secrets().postgres.encode() not in shown
                assert services.home.secrets().valkey.encode() not in shown
    assert list(parent.iterdir()) == [parent / "yard"]
    assert stat.S_IMODE((parent / "yard").stat().st_mode) == 0o700
    with start_services(parent / "yard") as again:
        assert count(again) == (100, 100)
        assert again.database_url == services.database_url
        assert again.broker_url == services.broker_url
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before


def test_passwords_are_asked_for_and_their_loss_is_explained(tmp_path: Path) -> None:
    with start_services(tmp_path / "yard") as services:
        secrets = services.home.secrets()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(services.database_url.replace(secrets.postgres, "guess"))
        stranger = redis.Redis.from_url(services.broker_url.replace(secrets.valkey, "guess"))
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        stranger.close()
    (services.home.path / "secrets.json").unlink()
    with (
        pytest.raises(ServiceStartError, match=r"secrets\.json"),
        start_services(tmp_path / "yard"),
    ):
        pass


def test_killed_servers_come_back_with_their_data(tmp_path: Path) -> None:
    with start_services(tmp_path / "yard", fsync=True) as services:
        write(services, 1000)
        home = services.home
        broker = redis.Redis.from_url(services.broker_url)
        broker.execute_command("WAITAOF", 1, 0, 5000)
        broker.close()
        with psycopg.connect(services.database_url):
            os.kill(pid_of(home, "postgres"), signal.SIGKILL)
            os.kill(pid_of(home, "valkey"), signal.SIGKILL)
            until(lambda: restarted(home, "postgres") and restarted(home, "valkey"))
        # The same addresses: nobody has to be told.
        assert count(services) == (1000, 1000)


@needs_linux
def test_killed_supervisor_leaves_no_orphans(tmp_path: Path) -> None:
    with start_services(tmp_path / "yard") as services:
        write(services, 10)
        home = services.home
        pids = [pid_of(home, "postgres"), pid_of(home, "valkey")]
        os.kill(services.supervisor_pid, signal.SIGKILL)
        until(lambda: home.running() is None)
        # At once, so that the new ones meet the old ones on their way out.
        with start_services(home.path) as again:
            assert count(again) == (10, 10)
            # By folder, not by pid: a container's init may leave the dead unreaped.
            assert pid_of(home, "postgres") not in pids
            left = processes.pids_in_folder(home.postgres / "data")
            left += processes.pids_in_folder(home.valkey)
            assert not set(pids).intersection(left)
    assert home.running() is None
    assert processes.pids_in_folder(home.postgres / "data") == []
    assert processes.pids_in_folder(home.valkey) == []


def test_two_homes_at_once(tmp_path: Path) -> None:
    with start_services(tmp_path / "one") as one, start_services(tmp_path / "two") as two:
        write(one, 1)
        write(two, 2)
        assert (count(one), count(two)) == ((1, 1), (2, 2))


def test_other_major_version_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    home = Home(tmp_path / "yard")
    home.create()
    data = home.postgres / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("11\n")
    ways_out = r"Postgres 11 .*dump.*BATCHYARD_DATABASE_URL.*remove"
    with pytest.raises(ServiceStartError, match=ways_out), start_services(home.path):
        pass


@needs_linux
def test_stale_files_of_a_crash_are_seen_through(tmp_path: Path) -> None:
    with start_services(tmp_path / "yard") as services:
        home = services.home
        pid_file = (home.postgres / "data" / "postmaster.pid").read_text()
    # The old pid now belongs to a stranger: this very process.
    stale = pid_file.splitlines()
    stale[0] = str(os.getpid())
    (home.postgres / "data" / "postmaster.pid").write_text("\n".join(stale) + "\n")
    with start_services(home.path) as services:
        write(services, 1)


def test_in_the_background(tmp_path: Path) -> None:
    home = Home(tmp_path / "yard")
    argv = [sys.executable, "-m", "batchyard.embedded", str(home.path), "--no-fsync"]
    record = spawn_detached(argv, home, cwd=ROOT)
    try:
        assert home.running() == record or home.running() is not None
        with psycopg.connect(record.database_url) as connection:
            connection.execute("SELECT sum(n) FROM generate_series(1, 300000) n")
        with pytest.raises(HomeLockedError, match="batchyard down"):
            spawn_detached(argv, home, cwd=ROOT)
        if processes.LINUX:
            assert cpu_seconds(home)["postgres"] > 0
    finally:
        assert stop(home)
    assert not stop(home)
    assert cpu_seconds(home)["postgres"] > 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(record.database_url)


def test_background_start_reports_why_it_failed(tmp_path: Path) -> None:
    home = Home(tmp_path / "yard")
    with pytest.raises(ServiceStartError, match="No module named nothing_of_the_kind"):
        spawn_detached([sys.executable, "-m", "nothing_of_the_kind"], home)


START_AND_ASK = """
import os, sys, psycopg
from batchyard.embedded.testing import start_services
with start_services(sys.argv[1]) as services, psycopg.connect(services.database_url) as connection:
    connection.execute("SELECT 1")
    print("ran as", os.getuid())
"""


def python_for_others(environ: dict[str, str]) -> str | None:
    """An interpreter which another user can read; ours may lie in a closed folder."""
    probe = ["-c", "import psycopg, msgspec, batchyard.embedded.testing"]
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run([python, *probe], env=environ, cwd="/", user=NOBODY, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user")
def test_as_an_ordinary_user() -> None:
    packages = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(packages)}
    python = python_for_others(environ)
    if python is None:
        pytest.skip("no Python here can be read by other users")
    # Pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, NOBODY, NOBODY)
        ran = subprocess.run(
            [python, "-c", START_AND_ASK, f"{name}/yard"],
            env=environ,
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout == f"ran as {NOBODY}\n", ran.stderr
        assert Path(name, "yard", "postgres", "data").stat().st_uid == NOBODY
