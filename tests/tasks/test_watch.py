"""Health checks of self-hosted servers, against a real one."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core.deployment import Deployment, HealthCheck
from core.status import Cause, Condition, DeploymentStatus
from db.health import conditions, trip
from providers.watch import look
from tasks.watch import check, watched_lines
from tests.conftest import DEPLOYMENTS, Inn


class Server:
    """Answers every GET with a status of the test's choice."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, self.headers.get("authorization")))
                self.send_response(server.status)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.mark.parametrize(("status", "up"), [(200, True), (401, True), (307, True), (503, False)])
def test_whatever_is_no_server_error_is_an_answer(server: Server, status: int, up: bool) -> None:
    server.status = status
    assert look(f"{server.url}/health")[0] is up
    assert server.seen == [("/health", None)]


def test_nobody_at_home_is_no_answer(server: Server) -> None:
    url = f"{server.url}/health"
    server.stop()
    up, said = look(url)
    assert not up
    assert "refused" in said
    assert not look("ftp://127.0.0.1/x")[0]


def watched(server: Server) -> dict[str, Deployment]:
    how = HealthCheck(f"{server.url}/health", 10.0)
    return {
        "small": replace(DEPLOYMENTS["small"], health=how),
        "large": replace(DEPLOYMENTS["small"], name="large", health=how),
        "cloud": replace(DEPLOYMENTS["small"], name="cloud", provider="cloud"),
    }


def story(inn: Inn, server: Server, *, times: int = 1) -> dict[str, Condition]:
    """How all stand after that many checks."""

    async def inside(ctx: Any) -> dict[str, Condition]:
        async with ctx.pool.connection() as conn:
            await conn.execute(
                "insert into provider_checks (provider) values ('lab') on conflict do nothing"
            )
        for (provider, how), lines in watched_lines(watched(server)).items():
            for _ in range(times):
                await check(ctx.pool, provider, how, lines)
        async with ctx.pool.connection() as conn:
            return await conditions(conn)

    return inn.run(inside)


def test_two_failed_checks_close_the_providers_lines_and_an_answer_has_them_probed(
    inn: Inn, server: Server
) -> None:
    server.status = 503
    assert story(inn, server) == {}
    closed = story(inn, server)
    assert set(closed) == {"small", "large"}
    assert closed["small"].cause is Cause.UNREACHABLE
    assert closed["small"].reason == (
        f"2 health checks in a row failed: GET {server.url}/health: answers 503"
    )
    server.status = 200
    assert {one.status for one in story(inn, server).values()} == {DeploymentStatus.PROBING}


def test_an_answer_ends_the_cooling_of_what_failed(inn: Inn, server: Server) -> None:
    async def fail(ctx: Any) -> None:
        async with ctx.pool.connection() as conn:
            await trip(conn, ["small"], cause=Cause.FAILURES, reason="broken", jitter=1.0)
            await trip(conn, ["large"], cause=Cause.THROTTLED, reason="only 429s", jitter=1.0)

    inn.run(fail)
    found = story(inn, server)
    assert found["small"].status is DeploymentStatus.PROBING
    assert found["large"].status is DeploymentStatus.COOLING
