"""Migrations: up, down and up again, and no difference from the metadata."""

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, pool

from core.errors import ConfigError, ConflictError, InputError, ServiceError
from db.migrate import Stake, migrate, sqlalchemy_url, stake
from db.schema import PARTITIONED, metadata
from tests.conftest import Inn


def tables(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("select tablename from pg_tables where schemaname = 'public'")
        return {row[0] for row in rows.fetchall()}


def test_up_down_and_up_again(database_url: str) -> None:
    assert set(metadata.tables) <= tables(database_url)
    migrate(database_url, "base")
    assert tables(database_url) == {"alembic_version"}
    migrate(database_url)
    assert set(metadata.tables) <= tables(database_url)


def test_no_step_down_while_a_worker_holds_a_lease(inn: Inn) -> None:
    inn.submit(["a", "b"])
    inn.put("processes", kind="call", host="here", pid=1, lease_until="infinity")
    assert stake(inn.database_url) == Stake(jobs=1, results=0, workers=1)
    with pytest.raises(ConflictError, match="1 worker holds a lease"):
        migrate(inn.database_url, "base")
    assert inn.rows("select count(*) from requests") == [(2,)]
    inn.rows("update processes set lease_until = now() - interval '1 second'")
    migrate(inn.database_url, "base")
    assert stake(inn.database_url) == Stake(0, 0, 0)


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    before = tables(database_url)
    migrate(database_url)
    assert tables(database_url) == before


def test_the_migrated_database_is_the_metadata(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [d for d in compare_metadata(context, metadata) if not _is_partition(d)]
    engine.dispose()
    assert found == []


def _is_partition(difference: object) -> bool:
    """Partitions are made at run time, with the first job of their month."""
    text = str(difference)
    return any(f"{table}_p" in text for table in PARTITIONED)


def test_there_is_a_project_to_begin_with(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select name from projects").fetchall() == [("default",)]


def test_another_database_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="must start with postgresql://"):
        migrate("mysql://somewhere/else")


def test_an_unknown_revision_is_refused_in_words(database_url: str) -> None:
    with pytest.raises(InputError, match="no revision 'nonsense'"):
        migrate(database_url, "nonsense")


def test_a_server_that_is_away_is_named() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        migrate("postgresql://nobody@127.0.0.1:1/none")
