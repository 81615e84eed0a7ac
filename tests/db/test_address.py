"""Addresses of Postgres: the usual spellings, and one line about the others."""

import pytest

from core.errors import ConfigError
from db.address import postgres_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_usual_spellings_are_one(scheme: str) -> None:
    assert postgres_url(f"{scheme}://me@db/yard") == "postgresql://me@db/yard"


@pytest.mark.parametrize(
    "url",
    ["mysql://me:hunter2@db/x", "me:hunter2@db", "postgresql+asyncpg://me:hunter2@db/x",
     "postgresql://me:hunter2@db/x?nothing=1"],
)  # fmt: skip
def test_others_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_DATABASE_URL") as caught:
        postgres_url(url)
    assert "hunter2" not in str(caught.value)
