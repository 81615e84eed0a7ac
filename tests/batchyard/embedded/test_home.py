import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.embedded import binaries
from batchyard.embedded.errors import HomeLockedError, HomeOwnerError, MissingBinariesError
from batchyard.embedded.home import Home, State, YardRecord

ROOT = Path(__file__).parents[3]

HOLD_LOCK = """
import os, sys, time
from batchyard.embedded.home import Home, State, YardRecord
home = Home(sys.argv[1])
with home.lock():
    home.write_record(YardRecord(supervisor_pid=os.getpid(), state=State.READY))
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "yard")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_default_is_a_hidden_folder_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.from_env({}).path == tmp_path / ".batchyard"
    assert Home.from_env({"BATCHYARD_HOME": "elsewhere"}).path == tmp_path / "elsewhere"


def test_passwords_last_and_are_private(home: Home) -> None:
    first = home.secrets()
    assert Home(home.path).secrets() == first
    assert len({first.postgres, first.valkey, first.flower}) == 3
    assert mode(home.path) == 0o700
    assert mode(home.path / "secrets.json") == 0o600


def test_passwords_are_the_same_for_two_at_once(home: Home) -> None:
    home.create()
    code = (
        "import sys; from batchyard.embedded.home import Home; print(Home(sys.argv[1]).secrets())"
    )
    argv = [sys.executable, "-c", code, str(home.path)]
    racers = [subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(4)]
    assert len({racer.communicate()[0] for racer in racers}) == 1


def test_record_is_private_and_read_back(home: Home) -> None:
    record = YardRecord(supervisor_pid=1, state=State.READY, database_url="postgresql://x")
    home.create()
    home.write_record(record)
    assert home.record() == record
    assert mode(home.path / "services.json") == 0o600


def test_port_is_kept_while_it_is_free(home: Home) -> None:
    port = home.port("postgres")
    assert Home(home.path).port("postgres") == port
    assert home.port("valkey") != port
    with socket.create_server(("127.0.0.1", port)):
        assert home.port("postgres") != port


def test_one_supervisor_per_home(home: Home) -> None:
    argv = [sys.executable, "-c", HOLD_LOCK, str(home.path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        record = home.running()
        assert record is not None
        assert record.supervisor_pid == holder.pid
        with (
            pytest.raises(HomeLockedError, match=rf"pid {holder.pid}.*batchyard down"),
            home.lock(),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    # The file is still there; the process behind it isn't.
    assert home.record() == record
    assert home.running() is None
    with home.lock(), home.lock():
        assert home.locked()
    assert not home.locked()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(home: Home) -> None:
    home.create()
    os.chown(home.path, 65534, 65534)
    with pytest.raises(HomeOwnerError, match=r"uid 65534.*BATCHYARD_HOME"):
        home.create()


def test_missing_binaries_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(MissingBinariesError, match="BATCHYARD_DATABASE_URL"):
        binaries.postgres_bin()
    with pytest.raises(MissingBinariesError, match="BATCHYARD_BROKER_URL"):
        binaries.valkey_binary()
