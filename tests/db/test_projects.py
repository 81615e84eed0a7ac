from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.errors import NotFoundError
from db.audit import audit
from db.jobs import job_view, list_jobs
from db.overview import recent_jobs
from db.projects import find_project, list_projects, put_weights
from db.results import stream_results
from db.stories import errors_by_class, job_story, request_story
from tasks.context import Context

Read = Callable[[Any, int, int], Awaitable[Any]]


async def exported(conn: Any, project: int, job_id: int) -> list[bytes]:
    return [block async for block in stream_results(conn, project, job_id)]


async def told(conn: Any, project: int, job_id: int) -> Any:
    return await request_story(conn, project, job_id, "request-1")


@pytest.mark.parametrize("read", [job_view, errors_by_class, job_story, told, exported, audit])
def test_a_job_of_another_project_is_not_there(inn, read: Read) -> None:
    inn.submit(["a"])
    other = inn.submit(["b"], project="other")
    with pytest.raises(NotFoundError):
        inn.ask(read, other)
    inn.ask(read, 1)


def test_lists_show_the_projects_own_jobs(inn) -> None:
    mine = inn.submit(["a"])
    inn.submit(["b"], project="other")
    assert [job.id for job in inn.ask(list_jobs)] == [mine]
    assert [job[0] for job in inn.ask(recent_jobs)] == [mine]


def with_conn(inn, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def inside(ctx: Context) -> Any:
        async with ctx.pool.connection() as conn:
            return await work(conn)

    return inn.run(inside)


def test_the_configuration_says_what_projects_weigh(inn) -> None:
    inn.submit(["a"])
    inn.submit(["b"], project="other")
    with_conn(inn, lambda conn: put_weights(conn, {"other": 3, "new": 2}))
    lines = with_conn(inn, list_projects)
    assert [(p.name, p.weight, p.active_jobs) for p in lines] == [
        ("default", 1, 1),
        ("new", 2, 0),
        ("other", 3, 1),
    ]
    with_conn(inn, lambda conn: put_weights(conn, {"new": 2}))
    assert [p.weight for p in with_conn(inn, list_projects)] == [1, 2, 1]


def test_an_unknown_project_is_named(inn) -> None:
    with pytest.raises(NotFoundError, match="no project 'nobody'"):
        with_conn(inn, lambda conn: find_project(conn, "nobody"))
