"""One yard for all the faults: each of them has to leave it working for the next."""

from collections.abc import Iterator

import pytest

from tests.faults.rig import CALM, Rig, running_yard


@pytest.fixture(scope="session")
def one_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_yard(tmp_path_factory.mktemp("faults")) as rig:
        yield rig


@pytest.fixture
def yard(one_yard: Rig) -> Rig:
    """The yard, with a provider that makes no faults."""
    one_yard.simulate(**CALM)
    return one_yard
