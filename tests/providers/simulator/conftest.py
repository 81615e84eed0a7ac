"""A simulator on a loop of its own thread, reached over real sockets."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvloop

from providers.simulator import SimulatorServer, load_profile, serve

KEY = "sk-sim-0123456789abcdefghij"


@dataclass
class Sim:
    """A running simulator and a client to it."""

    server: SimulatorServer
    client: httpx.Client

    def call(self, text: str = "hello", *, prefix: str = "", **fields: Any) -> httpx.Response:
        """One chat completion; `request_id` goes into the header, the rest into the body."""
        headers = {}
        if "request_id" in fields:
            headers["x-batchyard-request-id"] = fields.pop("request_id")
        body = {"model": "mini", "messages": [{"role": "user", "content": text}], **fields}
        return self.client.post(f"{prefix}/v1/chat/completions", json=body, headers=headers)

    def stats(self, path: str = "/stats?ids=1") -> dict[str, Any]:
        return self.client.get(path).json()

    def config(self, prefix: str = "", **patch: Any) -> httpx.Response:
        return self.client.post(f"{prefix}/config", json=patch)


class LoopThread:
    """An event loop that runs in its own thread until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread = threading.Thread(target=loop.run_forever)
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def any_loop(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    """Both kinds of loop: the server runs on uvloop, embedders may run it on asyncio's."""
    thread = LoopThread(
        uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    )
    yield thread
    thread.close()


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread(uvloop.new_event_loop())
    yield thread
    thread.close()


def _starter(thread: LoopThread) -> Iterator[Callable[..., Sim]]:
    running: list[Sim] = []

    def start(profile: dict[str, Any] | None = None, **named: dict[str, Any]) -> Sim:
        plain = named or {"": profile or {}}
        profiles = {name: load_profile(data) for name, data in plain.items()}
        server = thread.run(serve(profiles))
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10)
        running.append(Sim(server, client))
        return running[-1]

    yield start
    for sim in running:
        sim.client.close()
        thread.run(sim.server.close())


@pytest.fixture
def start(loop_thread: LoopThread) -> Iterator[Callable[..., Sim]]:
    """Starts a simulator from a profile dict, or from several by provider name."""
    yield from _starter(loop_thread)


@pytest.fixture
def start_any(any_loop: LoopThread) -> Iterator[Callable[..., Sim]]:
    """The same, once on each kind of loop."""
    yield from _starter(any_loop)
