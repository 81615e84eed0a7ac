import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.errors import ConflictError, NotFoundError
from db.router_models import (
    list_models,
    promote,
    promoted,
    promoted_id,
    put_model,
    read_model,
    show_model,
)
from tasks.context import Context


@pytest.fixture
def project(inn) -> int:
    """A project with its jobs' owner; another one is there, too."""
    inn.submit(["a"])
    inn.submit(["b"], project="other")
    return 1


def test_every_training_is_a_version_and_one_is_promoted(inn, project: int) -> None:
    for figure in (0.6, 0.7):
        inn.ask(put_model, "tickets", "choice", b"body %f" % figure, {"apgr": figure})
    assert inn.ask(promoted, "tickets") is None
    newest = inn.ask(show_model, "tickets")
    assert (newest.version, newest.promoted, newest.info) == (2, False, {"apgr": 0.7})
    inn.ask(promote, "tickets", 2)
    inn.ask(promote, "tickets", 1)
    found = inn.ask(promoted, "tickets")
    assert (found.version, found.body, found.info) == (1, b"body 0.600000", {"apgr": 0.6})
    assert inn.ask(promoted_id, "tickets") == found.id
    assert inn.ask(read_model, "tickets") == found
    assert inn.ask(read_model, "tickets", 2).body == b"body 0.700000"
    listed = [(one.name, one.version, one.promoted, one.size) for one in inn.ask(list_models)]
    assert listed == [("tickets", 2, False, 13), ("tickets", 1, True, 13)]


def test_models_belong_to_their_project(inn, project: int) -> None:
    inn.ask(put_model, "tickets", "choice", b"mine", {})
    inn.ask(promote, "tickets", 1)

    def elsewhere(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def inside(ctx: Context) -> Any:
            async with ctx.pool.connection() as conn:
                return await work(conn)

        return inn.run(inside)

    assert elsewhere(lambda conn: promoted(conn, 2, "tickets")) is None
    assert elsewhere(lambda conn: list_models(conn, 2)) == []
    with pytest.raises(NotFoundError, match="no router model 'tickets' in this project"):
        elsewhere(lambda conn: read_model(conn, 2, "tickets"))
    with pytest.raises(NotFoundError):
        elsewhere(lambda conn: promote(conn, 2, "tickets", 1))
    assert inn.ask(promoted, "tickets").body == b"mine"


def test_what_is_not_there_is_named_and_nothing_is_demoted(inn, project: int) -> None:
    inn.ask(put_model, "tickets", "choice", b"1", {})
    inn.ask(promote, "tickets", 1)
    with pytest.raises(NotFoundError, match=r"no version 7. It has 1"):
        inn.ask(promote, "tickets", 7)
    assert inn.ask(promoted, "tickets").version == 1
    with pytest.raises(NotFoundError, match="There are: tickets"):
        inn.ask(show_model, "ticket")
    with pytest.raises(ConflictError, match="of task choice"):
        inn.ask(put_model, "tickets", "intent", b"2", {})


def test_trainings_that_end_together_get_versions_of_their_own(inn, project: int) -> None:
    async def together(ctx: Context) -> list[int]:
        async def one() -> int:
            async with ctx.pool.connection() as conn:
                return await put_model(conn, project, "tickets", "choice", b"", {})

        return await asyncio.gather(*(one() for _ in range(4)))

    assert sorted(inn.run(together)) == [1, 2, 3, 4]
