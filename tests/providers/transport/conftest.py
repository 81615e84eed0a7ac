"""A real server on a loopback port that answers, misbehaves and remembers, by path."""

import asyncio
import gzip
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Queue
from threading import Thread

import pytest
import uvloop

from core.ports import Transport
from providers.transport.direct_transport import DirectTransport
from providers.transport.httpx_transport import HttpxTransport
from providers.transport.pyreqwest_transport import PyreqwestTransport

OK = b'{"ok":true}'
TransportMaker = Callable[..., Transport]


@dataclass
class Seen:
    """What reached the server."""

    paths: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    now: int = 0
    most: int = 0


@dataclass
class Server:
    url: str
    seen: Seen


def _answer(body: bytes, extra: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


ANSWERS = {
    "/ok": _answer(OK, "X-Request-Id: req_1\r\nContent-Type: application/json\r\n"),
    "/slow": _answer(OK),
    "/throttled": _answer(b"{}", "Retry-After: 3\r\n", "429 Too Many Requests"),
    "/empty": _answer(b"", status="503 Service Unavailable"),
    "/redirect": _answer(b"", "Location: /ok\r\n", "307 Temporary Redirect"),
    "/gzip": _answer(gzip.compress(OK), "Content-Encoding: gzip\r\n"),
    "/bomb": _answer(gzip.compress(b"0" * 4_000_000), "Content-Encoding: gzip\r\n"),
    "/damaged": _answer(b"not gzip at all", "Content-Encoding: gzip\r\n"),
    "/odd": _answer(b"x", "Content-Encoding: br\r\n"),
    "/large": _answer(b"0" * 2_000_000),
    "/large-chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"10000\r\n" + b"0" * 0x10000 + b"\r\n" for _ in range(32))
    + b"0\r\n\r\n",
    "/until-closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + OK,
    "/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _answer(OK),
    "/closing": _answer(OK, "Connection: close\r\n"),
    "/brief": _answer(OK, "Keep-Alive: timeout=1\r\n"),
    "/chatty": _answer(OK) + _answer(b"who asked?"),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\n\r\n',
    "/nonsense": b"this is not HTTP\r\n\r\n",
}
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _serve(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    seen.connections += 1
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = first.split()[1]
            seen.paths[path] += 1
            seen.headers.append(headers)
            seen.bodies.append(body)
            if not await _reply(seen, path, writer):
                return
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        return
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _reply(seen: Seen, path: str, writer: asyncio.StreamWriter) -> bool:
    """Answers; False ends the connection."""
    if path == "/reset":
        _reset(writer)
        return False
    if path == "/hang":
        await asyncio.sleep(30)
    if path == "/slow":
        seen.now += 1
        seen.most = max(seen.most, seen.now)
        await asyncio.sleep(1.0)
        seen.now -= 1
    writer.write(CUT if path == "/cut" else ANSWERS.get(path, b""))
    await writer.drain()
    return path in ANSWERS and path not in ("/nonsense", "/until-closed", "/closing")


@dataclass
class _Handle:
    port: int
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


async def _run_until_stopped(seen: Seen, started: Queue[_Handle]) -> None:
    stop = asyncio.Event()
    server = await asyncio.start_server(partial(_serve, seen), "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    started.put(_Handle(port, asyncio.get_running_loop(), stop))
    await stop.wait()
    server.close()
    # A connection that was accepted a moment ago is served only in the loop's next rounds.
    for _ in range(3):
        await asyncio.sleep(0.01)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in its own thread, so that the client under test has its loop to itself."""
    seen = Seen()
    started: Queue[_Handle] = Queue()
    thread = Thread(target=lambda: asyncio.run(_run_until_stopped(seen, started)), daemon=True)
    thread.start()
    handle = started.get(timeout=10)
    yield Server(f"http://127.0.0.1:{handle.port}", seen)
    handle.loop.call_soon_threadsafe(handle.stop.set)
    thread.join(timeout=10)


@pytest.fixture(
    params=[
        (DirectTransport, uvloop.new_event_loop),
        (DirectTransport, asyncio.SelectorEventLoop),
        (PyreqwestTransport, asyncio.SelectorEventLoop),
        (HttpxTransport, asyncio.SelectorEventLoop),
    ],
    ids=["direct-uvloop", "direct", "pyreqwest", "httpx"],
)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TransportMaker:
    """Makes the transport; what the test runs, runs on the loop that goes with it."""
    maker: TransportMaker
    maker, new_loop = request.param
    monkeypatch.setattr(asyncio.DefaultEventLoopPolicy, "new_event_loop", lambda _: new_loop())
    return maker
