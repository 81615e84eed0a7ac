"""References lead to secrets, or to a message that helps and tells nothing."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from providers.secrets import resolve_secret


def test_from_the_environment() -> None:
    assert resolve_secret("env:LAB_KEY", {"LAB_KEY": "abc"}) == "abc"


def test_from_this_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_TEST_KEY", "abc")
    assert resolve_secret("env:BATCHYARD_TEST_KEY") == "abc"


def test_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc\n")
    assert resolve_secret(f"file:{file}") == "abc"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named(value: str | None) -> None:
    environ = {} if value is None else {"LAB_KEY": value}
    with pytest.raises(ConfigError, match="export LAB_KEY="):
        resolve_secret("env:LAB_KEY", environ)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        resolve_secret(f"file:{tmp_path / 'nowhere'}")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch()
    with pytest.raises(ConfigError, match="is empty"):
        resolve_secret(f"file:{file}")


@pytest.mark.parametrize("secret", ["two\nlines", "sécret", "a\x00b"])
def test_what_no_header_can_hold_is_refused_unseen(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_secret("env:LAB_KEY", {"LAB_KEY": secret})
    assert secret not in str(refused.value)


def test_a_literal_key_is_refused_unseen() -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_secret("sk-abcdef")
    assert "sk-abcdef" not in str(refused.value)
    assert "env:NAME" in str(refused.value)
