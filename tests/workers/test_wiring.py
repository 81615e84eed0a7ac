"""A worker without its yard: it ends, and does not keep those who wait."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
from structlog.testing import capture_logs

from batchyard.embedded.testing import RunningServices
from db.record import Report
from tests.conftest import DEPLOYMENTS, SETTINGS, Bell
from workers import environment
from workers.signs import BROKEN_EXIT, NO_YARD_EXIT
from workers.wiring import Process, _after_commit


class Exited(BaseException):
    """Stands for the end of the process."""


@contextmanager
def exits() -> Iterator[mock.Mock]:
    with mock.patch.object(os, "_exit", side_effect=Exited) as exit_, pytest.raises(Exited):
        yield exit_


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, broker_url: str) -> pytest.MonkeyPatch:
    monkeypatch.setattr(environment, "settings", lambda: SETTINGS)
    monkeypatch.setattr(environment, "deployments", lambda: DEPLOYMENTS)
    monkeypatch.setattr(environment, "limiter_url", lambda: broker_url)
    return monkeypatch


def test_a_database_that_was_never_migrated_ends_the_worker_in_words(
    surroundings: pytest.MonkeyPatch, services: RunningServices
) -> None:
    surroundings.setattr(environment, "database_url", lambda: services.database_url)
    with capture_logs() as lines, exits() as exit_:
        Process(Bell())._live()
    assert exit_.call_args_list == [mock.call(NO_YARD_EXIT)]
    assert "batchyard migrate" in lines[-1]["reason"]


@pytest.mark.parametrize("error", [psycopg.OperationalError("restarting"), ValueError("defect")])
def test_whatever_keeps_the_yard_closed_ends_the_worker(
    surroundings: pytest.MonkeyPatch, database_url: str, error: Exception
) -> None:
    surroundings.setattr(environment, "database_url", lambda: database_url)

    def fails(*args: Any, **options: Any) -> None:
        raise error

    surroundings.setattr("workers.wiring.register", fails)
    with exits() as exit_:
        Process(Bell())._live()
    assert exit_.call_args_list == [mock.call(NO_YARD_EXIT)]


def test_a_yard_that_breaks_down_later_is_told_apart(
    surroundings: pytest.MonkeyPatch, database_url: str
) -> None:
    surroundings.setattr(environment, "database_url", lambda: database_url)

    async def fails(*args: Any) -> None:
        raise psycopg.OperationalError("away")

    surroundings.setattr("workers.wiring.end", fails)
    process = Process(Bell())
    with exits() as exit_:
        process._opened.add_done_callback(
            lambda opened: opened.result().loop.call_soon_threadsafe(opened.result().closing.set)
        )
        process._live()
    assert exit_.call_args_list == [mock.call(BROKEN_EXIT)]


def test_what_moves_on_rings_dispatch_now_and_then() -> None:
    async def story() -> list[Any]:
        bell = Bell()
        ring = _after_commit(bell)
        for _ in range(50):
            await ring(Report(moved=True))
        await ring(Report(drained=[7]))
        await asyncio.sleep(0)
        return bell.rung

    assert asyncio.run(story()) == [("dispatch", ()), ("finish", (7,))]
