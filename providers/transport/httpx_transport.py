"""The same contract over httpx: slower, pure Python, easy to replace or to wrap."""

import asyncio
from typing import Final

import httpx

from core.ports import HttpCall, HttpReply
from providers.errors import TransportError
from providers.transport.address import LOOPBACK_NAMES
from providers.transport.body import (
    ACCEPT_ENCODING,
    REPLY_CAP,
    check_length,
    decoded,
    too_large,
)

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 50.0

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


class HttpxTransport:
    """core.ports.Transport. One instance per event loop."""

    def __init__(self, *, max_connections: int, reply_cap: int = REPLY_CAP) -> None:
        self._cap = reply_cap
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            # Calls to this machine never take the way of a proxy that the environment names.
            mounts={f"all://{host}": None for host in LOOPBACK_NAMES},
            headers={"accept-encoding": ACCEPT_ENCODING, "user-agent": "batchyard"},
        )

    async def send(self, call: HttpCall) -> HttpReply:
        if self._client.is_closed:
            raise TransportError("the transport is closed", may_have_arrived=False)
        # httpx times each read and write; the contract is one time for the whole exchange.
        try:
            async with asyncio.timeout(call.timeout):
                return await self._exchange(call)
        except TimeoutError as error:
            message = f"no answer within {call.timeout:g} s"
            raise TransportError(message, may_have_arrived=True) from error
        except _NOT_SENT as error:
            raise TransportError(_explain(error), may_have_arrived=False) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise TransportError(_explain(error), may_have_arrived=True) from error

    async def _exchange(self, call: HttpCall) -> HttpReply:
        async with self._client.stream(
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
        await self._client.aclose()


def _explain(error: Exception) -> str:
    return str(error) or type(error).__name__
