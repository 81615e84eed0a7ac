"""The few seams with more than one implementation behind them.

Transport   providers/transport: pyreqwest, httpx      bytes in, bytes out
Limiter     workers/limiter on Redis; tests' own       leave to call a deployment
Publisher   workers/broker on Celery; tests' own       rings the bell for a step
Keys        workers/keyring; a dict in tests           the key that a reference names
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


class HttpCall(msgspec.Struct, frozen=True, gc=False):
    """One HTTP POST, ready to be sent as it is. `timeout` is in seconds for the whole exchange."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one call. Raises providers.errors.TransportError, which says whether the
    request may have reached the provider; never follows redirects."""

    async def send(self, call: HttpCall) -> HttpReply: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Buckets:
    """The limits of one deployment. None means undeclared."""

    key: str
    rpm: int | None
    tpm: int | None
    in_flight: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for the first `granted` of the calls asked for. When it is fewer than asked,
    `wait` is the seconds after which asking again is worth while; `full` says that only the
    end of calls in flight can help, which may come sooner."""

    granted: int
    wait: float = 0.0
    full: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """What comes back to a deployment's buckets: calls that ended, and tokens that were
    reserved too many (positive) or too few (negative, the bucket goes into debt)."""

    calls: int
    tokens: int


class Limiter(Protocol):
    """Shared leave to call deployments. A call takes from all of a deployment's buckets or
    from none; leave is given for the longest prefix of the calls asked for."""

    async def acquire(self, buckets: Buckets, tokens: Sequence[int]) -> Grant: ...

    async def give_back(self, buckets: Buckets, back: Return) -> None: ...

    async def pause(self, key: str, seconds: float) -> None: ...

    async def close(self) -> None: ...


class Publisher(Protocol):
    """Rings the bell: asks that a step be run soon. Carries ids only; may lose or repeat."""

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None: ...


class Keys(Protocol):
    """Gives the API key that a reference (`env:NAME`, `file:/path`) leads to. Only worker
    processes that call models have one; tests hand in a dict."""

    def get(self, reference: str, /) -> str | None: ...
