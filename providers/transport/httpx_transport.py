"""The same contract over httpx: slower, pure Python, easy to replace or to wrap."""

import asyncio
import ssl
from typing import Final

import httpx

from core.ports import HttpCall, HttpReply
from providers.address import LOOPBACK_NAMES
from providers.errors import TransportError
from providers.transport.body import (
    ACCEPT_ENCODING,
    REPLY_CAP,
    check_length,
    decoded,
    too_large,
)

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 50.0

# A pool looks at each of its connections on every call, so that one pool of a thousand takes
# minutes for a thousand calls; many small ones do not.
_POOL_SIZE: Final = 16

_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.WriteError,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)


def tls_context() -> ssl.SSLContext:
    """Trusts what the environment says (SSL_CERT_FILE, SSL_CERT_DIR), else certifi's list."""
    return httpx.create_ssl_context()


def _client(connections: int, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=context,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE_SECONDS,
        ),
        # Calls to this machine never take the way of a proxy that the environment names.
        mounts={f"all://{host}": None for host in LOOPBACK_NAMES},
        headers={"accept-encoding": ACCEPT_ENCODING, "user-agent": "batchyard"},
    )


class HttpxTransport:
    """core.ports.Transport. One instance per event loop."""

    def __init__(self, *, max_connections: int, reply_cap: int = REPLY_CAP) -> None:
        self._cap = reply_cap
        context = tls_context()
        sizes = [
            min(_POOL_SIZE, max_connections - start)
            for start in range(0, max_connections, _POOL_SIZE)
        ]
        self._clients = [_client(size, context) for size in sizes]
        # One entry per connection; last in, first out, so that warm connections are reused.
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client, size in zip(self._clients, sizes, strict=True):
            for _ in range(size):
                self._free.put_nowait(client)
        self._closed = False

    async def send(self, call: HttpCall) -> HttpReply:
        if self._closed:
            raise TransportError("the transport is closed", may_have_arrived=False)
        # httpx times each read and write; the contract is one time for the whole exchange.
        deadline = asyncio.get_running_loop().time() + call.timeout
        try:
            async with asyncio.timeout_at(deadline):
                client = await self._free.get()
        except TimeoutError as error:
            message = f"no connection became free within {call.timeout:g} s"
            raise TransportError(message, may_have_arrived=False) from error
        try:
            return await self._timed(client, call, deadline)
        finally:
            self._free.put_nowait(client)

    async def _timed(self, client: httpx.AsyncClient, call: HttpCall, deadline: float) -> HttpReply:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._exchange(client, call)
        except TimeoutError as error:
            message = f"no answer within {call.timeout:g} s"
            raise TransportError(message, may_have_arrived=True) from error
        except _NOT_SENT as error:
            raise TransportError(_explain(error), may_have_arrived=False) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise TransportError(_explain(error), may_have_arrived=True) from error

    async def _exchange(self, client: httpx.AsyncClient, call: HttpCall) -> HttpReply:
        async with client.stream(
            "POST", call.url, headers=dict(call.headers), content=call.body
        ) as response:
            headers = dict(response.headers.items())
            check_length(headers, self._cap)
            read = bytearray()
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) > self._cap:
                    raise too_large(self._cap)
        return HttpReply(response.status_code, headers, decoded(headers, bytes(read), self._cap))

    async def close(self) -> None:
        self._closed = True
        for client in self._clients:
            await client.aclose()


def _explain(error: Exception) -> str:
    return str(error) or type(error).__name__
