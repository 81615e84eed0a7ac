"""A worker's keys: found by reference, replaced without a restart, never shown."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from workers.keyring import REREAD, Keyring


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_replaced_file_is_picked_up(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "key"
    file.write_text("old\n")
    keys, reference = Keyring(clock), f"file:{file}"
    assert keys.get(reference) == "old"
    file.write_text("new\n")
    clock.now += REREAD
    assert keys.get(reference) == "new"
    file.unlink()
    clock.now += REREAD
    assert keys.get(reference) == "new"
    assert "new" not in repr(keys)


def test_a_reference_that_leads_nowhere_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keyring()
    with pytest.raises(ConfigError, match="LAB_KEY_2 is not set"):
        keys.get("env:LAB_KEY_2")
    monkeypatch.setenv("LAB_KEY_2", "secret")
    assert keys.get("env:LAB_KEY_2") == "secret"
