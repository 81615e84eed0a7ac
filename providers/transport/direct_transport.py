"""The hot path: HTTP/1.1 over the event loop's own sockets.

No other thread has to be woken, so that a call costs half of what it does over a native client
(docs/decisions.md has the figures). Calls that the environment sends by a proxy go by way of
pyreqwest.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from core.ports import HttpCall, HttpReply
from providers.address import is_loopback
from providers.errors import TransportError
from providers.transport.body import ACCEPT_ENCODING, REPLY_CAP
from providers.transport.connection import Connection
from providers.transport.httpx_transport import tls_context
from providers.transport.pyreqwest_transport import PyreqwestTransport

_CONNECT_SECONDS: Final = 10.0
# Below the 60 s after which many load balancers drop an idle connection without a word.
_IDLE_SECONDS: Final = 50.0
_TIMEOUT: Final = re.compile(r"timeout=(\d{1,6})")
_DEFAULTS: Final = {"user-agent": "batchyard", "accept-encoding": ACCEPT_ENCODING}


class Origin(NamedTuple):
    """Where connections lead."""

    host: str
    port: int
    tls: bool


class _Target(NamedTuple):
    """An address, taken apart once."""

    origin: Origin
    start: str
    proxied: bool


@lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Raises ValueError for what is no http address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        raise ValueError("it does not begin with http:// or https:// and a host")
    tls = parts.scheme == "https"
    origin = Origin(parts.hostname, parts.port or (443 if tls else 80), tls)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    start = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n"
    return _Target(origin, start, _is_proxied(parts.scheme, parts.hostname))


def _is_proxied(scheme: str, host: str) -> bool:
    """Whether the environment names a proxy for it; never for this machine."""
    proxies = getproxies_environment()
    if is_loopback(host) or proxy_bypass(host):
        return False
    return scheme in proxies or "all" in proxies


def _request(start: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a call. Raises ValueError for a header that would not stay one line."""
    added = [f"{name}: {value}\r\n" for name, value in _DEFAULTS.items() if name not in headers]
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = f"{start}{''.join(lines)}{''.join(added)}content-length: {len(body)}\r\n\r\n"
    ends = len(lines) + len(added) + 4
    if head.count("\r") != ends or head.count("\n") != ends or not head.isascii():
        raise ValueError("a header is not plain ASCII on one line")
    return head.encode() + body


def _idle_seconds(reply: HttpReply) -> float:
    """How long its connection stays good; some servers say when they will close it."""
    hint = reply.headers.get("keep-alive")
    told = _TIMEOUT.search(hint) if hint else None
    # A second less: the request must be there before the server makes up its mind.
    return min(_IDLE_SECONDS, int(told[1]) - 1.0) if told else _IDLE_SECONDS


class DirectTransport:
    """core.ports.Transport. One instance per event loop, for at most `max_connections` calls,
    and so connections, at once."""

    def __init__(
        self,
        *,
        max_connections: int,
        reply_cap: int = REPLY_CAP,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._cap = reply_cap
        self._most = max_connections
        self._tls = tls or tls_context()
        self._room = asyncio.Semaphore(max_connections)
        self._open: set[Connection] = set()
        # Last in, first out, so that warm connections are reused.
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._sweep: asyncio.TimerHandle | None = None
        self._proxied: PyreqwestTransport | None = None
        self._closed = False

    async def send(self, call: HttpCall) -> HttpReply:
        try:
            target = _target(call.url)
            request = _request(target.start, call.headers, call.body)
        except ValueError as error:
            message = f"a call to {call.url!r} cannot be made: {error}"
            raise TransportError(message, may_have_arrived=False) from error
        if target.proxied:
            return await self._by_proxy(call)
        deadline = asyncio.get_running_loop().time() + call.timeout
        await self._enter(call.timeout)
        try:
            return await self._exchange(target.origin, request, deadline, call.timeout)
        finally:
            self._room.release()

    async def _by_proxy(self, call: HttpCall) -> HttpReply:
        if self._proxied is None:
            self._proxied = PyreqwestTransport(max_connections=self._most, reply_cap=self._cap)
        return await self._proxied.send(call)

    async def _enter(self, seconds: float) -> None:
        """Takes room for one call."""
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        except TimeoutError as error:
            message = f"no connection became free within {seconds:g} s"
            raise TransportError(message, may_have_arrived=False) from error

    async def _exchange(
        self, origin: Origin, request: bytes, deadline: float, patience: float
    ) -> HttpReply:
        if self._closed:
            raise TransportError("the transport is closed", may_have_arrived=False)
        loop = asyncio.get_running_loop()
        connection = self._take(origin, loop.time()) or await self._connect(origin, deadline)
        try:
            reply = await connection.exchange(request, deadline, patience)
        finally:
            if not connection.open:
                self._drop(connection)
        if connection.open:
            connection.good_until = loop.time() + _idle_seconds(reply)
            self._idle[origin].append(connection)
            if self._sweep is None:
                self._sweep = loop.call_later(_IDLE_SECONDS, self._drop_old)
        return reply

    def _take(self, origin: Origin, now: float) -> Connection | None:
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.usable and now < connection.good_until:
                return connection
            self._drop(connection)
        return None

    async def _connect(self, origin: Origin, deadline: float) -> Connection:
        self._make_way()
        loop = asyncio.get_running_loop()
        seconds = min(_CONNECT_SECONDS, deadline - loop.time())
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._cap),
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                )
        except TimeoutError as error:
            message = f"no connection to {origin.host} within {seconds:.3g} s"
            raise TransportError(message, may_have_arrived=False) from error
        except (OSError, UnicodeError) as error:
            # An OSError's own text begins with its number.
            reason = (isinstance(error, OSError) and error.strerror) or error
            message = f"no connection to {origin.host}:{origin.port}: {reason}"
            raise TransportError(message, may_have_arrived=False) from error
        self._open.add(connection)
        if self._closed:
            connection.fail("the transport was closed")
        return connection

    def _make_way(self) -> None:
        """An idle connection to somewhere else must not stand in the way of a new one."""
        if len(self._open) >= self._most:
            oldest = (idle.pop(0) for idle in self._idle.values() if idle)
            if (connection := next(oldest, None)) is not None:
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.fail("the connection is not used again")
        self._open.discard(connection)

    def _drop_old(self) -> None:
        """Closes what nobody has used for long; looks again as long as there is something."""
        loop = asyncio.get_running_loop()
        for origin, idle in self._idle.items():
            old = [one for one in idle if not one.open or loop.time() >= one.good_until]
            self._idle[origin] = [one for one in idle if one not in old]
            for connection in old:
                self._drop(connection)
        more = any(self._idle.values())
        self._sweep = loop.call_later(_IDLE_SECONDS, self._drop_old) if more else None

    async def close(self) -> None:
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.fail("the transport was closed")
        self._open.clear()
        self._idle.clear()
        if self._proxied is not None:
            await self._proxied.close()
