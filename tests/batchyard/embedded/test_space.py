"""A full disk: nothing begins, what runs is kept up, and goes on by itself."""

import errno
import os
import signal
from pathlib import Path

import pytest
from psycopg import OperationalError
from psycopg.errors import DiskFull

from batchyard.answering import answering
from batchyard.checks import check_space
from batchyard.embedded import space
from batchyard.embedded.errors import DiskFullError
from batchyard.embedded.home import Home, State, YardRecord
from batchyard.embedded.service import Service
from batchyard.embedded.slot import Backoff
from batchyard.embedded.supervisor import Supervisor
from core.errors import ServiceError


class FullHome(Home):
    """Has no space for three records once all are up; the one after these ends the yard."""

    refused = 0

    def write_record(self, record: YardRecord) -> None:
        if record.state is State.READY and self.refused < 3:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_record(record)
        if record.state is State.READY:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_full_disk_does_not_end_the_supervisor(tmp_path: Path) -> None:
    home = FullHome(tmp_path / "yard")
    lasting = Service(name="lasting", argv=["sleep", "60"], ready=lambda _: True)
    # Its deaths are what there is to write down.
    restless = Service(name="restless", argv=["sleep", "0.2"], ready=lambda _: True)
    Supervisor(home, [lasting, restless], backoff=Backoff(first_s=0.01, most_s=0.05)).run()
    assert home.refused == 3
    record = home.record()
    assert record is not None
    assert record.state is State.STOPPED


def test_nothing_begins_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space.require_space(tmp_path / "not" / "made")
    assert check_space(Home(tmp_path)).ok
    monkeypatch.setattr(space, "LEAST", 2**60)
    with pytest.raises(DiskFullError, match="free some"):
        space.require_space(tmp_path)
    found = check_space(Home(tmp_path))
    assert not found.ok
    assert "no space is left" in found.detail


@pytest.mark.parametrize(
    ("error", "words"),
    [(DiskFull("could not extend file"), "no space to write"), (OperationalError(), "not answer")],
)
def test_a_postgres_that_fails_later_on_is_told_with_a_remedy(
    tmp_path: Path, error: Exception, words: str
) -> None:
    with pytest.raises(ServiceError, match=words), answering(Home(tmp_path), {}):
        raise error
    outside = {"BATCHYARD_DATABASE_URL": "postgresql://me@db/yard"}
    with pytest.raises(ServiceError, match="server"), answering(Home(tmp_path), outside):
        raise error
