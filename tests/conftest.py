"""Real services for the tests: one Postgres and one Valkey a session, a fresh database a test."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from batchyard.embedded.testing import RunningServices, start_services
from core.deployment import Deployment
from core.money import Price
from core.ports import Buckets
from core.settings import Settings
from db.connect import open_pool
from db.migrate import migrate
from tasks.context import Context
from tasks.intake.sources import Source
from tasks.submit import SubmitOptions, submit

TEMPLATE = "yard_template"
numbers = itertools.count(1)
SETTINGS = Settings.model_validate(
    {
        "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
        "deployments": {
            "small": {
                "provider": "lab",
                "model": "my-8b",
                "price": {"input_per_mtok": 1, "output_per_mtok": 2},
            },
            "free": {"provider": "lab", "model": "no-price"},
        },
        "routes": {
            "default": {"candidates": ["small"]},
            "mixed": {"candidates": ["small", "free"]},
        },
    }
)


def deployment(name: str, model: str, price: Price | None) -> Deployment:
    return Deployment(
        name=name,
        provider="lab",
        kind="openai",
        base_url="http://127.0.0.1:1/v1",
        model=model,
        timeout=10,
        api_key=None,
        buckets=Buckets(name, None, None, None),
        price=price,
        context=None,
    )


DEPLOYMENTS = {
    "small": deployment("small", "my-8b", Price(Decimal(1), Decimal(2))),
    "free": deployment("free", "no-price", None),
}


class Bell:
    """Remembers what was rung for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.rung: list[tuple[str, tuple[int | str, ...]]] = []
        self.error = error

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        if self.error:
            raise self.error
        self.rung.append((step, args))


class Inn:
    """A yard without workers on a fresh database: the steps run when a test calls them."""

    settings = SETTINGS

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.bell = Bell()

    @asynccontextmanager
    async def context(self) -> AsyncIterator[Context]:
        async with open_pool(self.database_url) as pool:
            yield Context(SETTINGS, DEPLOYMENTS, pool, self.bell)

    def run(self, work: Callable[[Context], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with self.context() as ctx:
                return await work(ctx)

        return asyncio.run(inside())

    def ask(self, read: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """What a reading function of db/ says: called with a connection and the project."""

        async def work(ctx: Context) -> Any:
            async with ctx.pool.connection() as conn:
                return await read(conn, 1, *args, **options)

        return self.run(work)

    def submit(self, source: Source, **options: Any) -> int:
        return self.run(lambda ctx: submit(ctx, source, SubmitOptions(**options)))

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            cursor = conn.execute(query.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def put(self, table: str, **values: Any) -> None:
        """A row written by hand, as a worker might have left it."""
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        marks = sql.SQL(", ").join(sql.Placeholder() * len(values))
        query = sql.SQL("insert into {} ({}) values ({})")
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            query = query.format(sql.Identifier(table), names, marks)
            conn.execute(query, list(values.values()))

    def part(self, job_id: int) -> int:
        return int(self.rows("select part from jobs where id = %s", job_id)[0][0])


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Postgres and Valkey in a folder that goes with the session."""
    with start_services(tmp_path_factory.mktemp("yard") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def template(services: RunningServices) -> str:
    """A migrated database that nobody is connected to."""
    with psycopg.connect(services.database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    migrate(_named(services.database_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(services: RunningServices, template: str) -> Iterator[str]:
    """A fresh, migrated database for one test."""
    name = f"test_{os.getpid()}_{next(numbers)}"
    with psycopg.connect(services.database_url, autocommit=True) as conn:
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        # Copied from files already there: four times as fast as the write-ahead log for a test.
        make = "create database {name} template {template} strategy file_copy"
        conn.execute(sql.SQL(make).format(**names))
        yield _named(services.database_url, name)
        conn.execute(sql.SQL("drop database {name} with (force)").format(**names))


@pytest.fixture
def broker_url(services: RunningServices) -> str:
    """The session's Valkey; what earlier tests left in it may still be there."""
    return services.broker_url


@pytest.fixture
def home(services: RunningServices) -> Path:
    """The state folder of the session's services."""
    return services.home.path


def _named(database_url: str, name: str) -> str:
    return database_url.rpartition("/")[0] + "/" + name


@pytest.fixture
def inn(database_url: str) -> Inn:
    """A yard without workers on a fresh database."""
    return Inn(database_url)
