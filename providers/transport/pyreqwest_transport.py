"""The hot path: pyreqwest (reqwest and hyper, in native code)."""

from datetime import timedelta
from functools import lru_cache
from typing import Final

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.http import Url
from pyreqwest.response import Response

from core.ports import HttpCall, HttpReply
from providers.address import is_loopback
from providers.errors import TransportError
from providers.transport.body import (
    ACCEPT_ENCODING,
    REPLY_CAP,
    check_length,
    decoded,
    too_large,
)

_CONNECT_SECONDS: Final = 10.0
# Below the 60 s after which many load balancers drop an idle connection without a word.
_IDLE_SECONDS: Final = 50.0

# What the native client calls a ConnectError or a ConnectTimeoutError may have happened long
# after the request was sent. Only these causes, of hyper's, say that there was no connection,
# or that bytes of the request had not been written when it broke.
_NEVER_SENT: Final = frozenset({"client error (Connect)", "error writing a body to connection"})


@lru_cache(maxsize=64)
def _target(url: str) -> tuple[Url, bool]:
    """The parsed address, and whether it is on this machine."""
    parsed = Url(url)
    return parsed, is_loopback(parsed.host_str or "")


@lru_cache(maxsize=256)
def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _builder(max_connections: int) -> ClientBuilder:
    return (
        ClientBuilder()
        .max_connections(max_connections)
        .pool_max_idle_per_host(max_connections)
        .pool_idle_timeout(timedelta(seconds=_IDLE_SECONDS))
        .connect_timeout(timedelta(seconds=_CONNECT_SECONDS))
        .default_headers({"accept-encoding": ACCEPT_ENCODING})
        .user_agent("batchyard")
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
    )


class PyreqwestTransport:
    """core.ports.Transport. One instance per event loop; its I/O thread is shared.

    A call whose task is cancelled is abandoned and not aborted: it keeps its connection until
    it is answered or times out.
    """

    def __init__(self, *, max_connections: int, reply_cap: int = REPLY_CAP) -> None:
        self._cap = reply_cap
        self._closed = False
        # Calls to this machine never take the way of a proxy that the environment names.
        self._local = _builder(max_connections).no_proxy().build()
        self._remote = _builder(max_connections).build()

    async def send(self, call: HttpCall) -> HttpReply:
        # A call right after the end has been seen to get through to the native client.
        if self._closed:
            raise TransportError("the transport is closed", may_have_arrived=False)
        try:
            url, local = _target(call.url)
            client = self._local if local else self._remote
            request = (
                client.post(url)
                .headers(call.headers)
                .body_bytes(call.body)
                .timeout(_seconds(call.timeout))
                .build_streamed()
            )
            async with request as response:
                return await self._read(response)
        except PyreqwestError as error:
            arrived = not _never_sent(error)
            message = _explain(error, call.timeout, arrived)
            raise TransportError(message, may_have_arrived=arrived) from error
        except ValueError as error:
            raise TransportError(
                f"{call.url!r} is not an address: {error}", may_have_arrived=False
            ) from error

    async def _read(self, response: Response) -> HttpReply:
        headers = dict(response.headers.items())
        check_length(headers, self._cap)
        if "content-length" in headers:
            body = (await response.body_reader.bytes()).to_bytes()
        else:
            body = await self._read_chunks(response)
        if "content-encoding" in headers:
            body = decoded(headers, body, self._cap)
        return HttpReply(response.status, headers, body)

    async def _read_chunks(self, response: Response) -> bytes:
        read = bytearray()
        while (chunk := await response.body_reader.read_chunk()) is not None:
            read += chunk.to_bytes()
            if len(read) > self._cap:
                raise too_large(self._cap)
        return bytes(read)

    async def close(self) -> None:
        self._closed = True
        await self._local.close()
        await self._remote.close()


def _causes(error: PyreqwestError) -> list[str]:
    """From the outermost to the innermost, which is the one that tells."""
    if not isinstance(error, DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in error.details["causes"] or []]


def _never_sent(error: PyreqwestError) -> bool:
    if isinstance(error, (PoolTimeoutError, BuilderError)):
        return True
    return not _NEVER_SENT.isdisjoint(_causes(error))


def _explain(error: PyreqwestError, timeout: float, arrived: bool) -> str:
    if arrived and isinstance(error, RequestTimeoutError):
        return f"no answer within {timeout:g} s"
    causes = _causes(error)
    return f"{error.message}: {causes[-1]}" if causes else error.message
