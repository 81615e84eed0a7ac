"""The few seams with more than one implementation behind them.

Transport   providers/transport: pyreqwest, httpx      bytes in, bytes out
Limiter     workers/limiter on Redis; tests' own       leave to call a deployment
Publisher   workers/broker on Celery; tests' own       rings the bell for a step
Keys        workers/keyring; a dict in tests           the key that a reference names
Scorer      workers/scoring; tests' own                whether an answer is likely right
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from core.brake import Brake


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
    """The limits of one scope: a deployment's line, a provider's key, a project. Requests and
    tokens are per minute, input and output tokens apart or (`tpm`) together; None means
    undeclared."""

    key: str
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    input_tpm: int | None = None
    output_tpm: int | None = None


class Ask(msgspec.Struct, frozen=True, gc=False):
    """The tokens that a permit is asked for."""

    input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for the first `granted` of the calls asked for. When it is fewer than asked,
    `wait` is the seconds after which asking again is worth while; `full` says that only the
    end of calls in flight can help, which may come sooner; `brake` is what is in the way longest.
    `epoch` goes with every call: a 429 counts against the limits that its permit was given
    under. A `probe` goes although the line is paused, to see whether its provider means it."""

    granted: int
    wait: float = 0.0
    full: bool = False
    epoch: int = 0
    brake: Brake | None = None
    probe: bool = False


class Return(msgspec.Struct, frozen=True, gc=False):
    """What comes back to the buckets: calls that ended; permits of calls that were not sent;
    tokens that were reserved too many (positive) or too few (negative: the bucket goes into
    debt and recovers before it grants again). `latency_ms` where the call was answered."""

    calls: int = 0
    requests: int = 0
    input: int = 0
    output: int = 0
    latency_ms: int | None = None


class Limiter(Protocol):
    """Shared leave to call deployments.

    A call takes from the buckets of all its scopes or from none; leave is given for the longest
    prefix of the calls asked for. The first scope is the deployment's line: it is the one that
    is paused, and that learns from answers.
    """

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        """`express` calls may take the share that is kept from all others."""

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        """Told with the next question, or soon."""

    def hear(self, key: str, headers: Mapping[str, str]) -> None:
        """What the provider says of its limits, in an answer's headers (lower case)."""

    async def pause(
        self, key: str, seconds: float, epoch: int = -1, began: float | None = None
    ) -> None:
        """Nobody calls the line for this long. `epoch` is the throttled call's, where the limits
        are to learn from it, and `began` when it was sent (monotonic, None: now): calls sent later
        that are answered end the pause, a probe or several others."""

    async def hold(self, key: str, longest: float) -> None:
        """Waits for the end of the line's pause, as far as this process knows; `longest` seconds
        at most."""

    async def close(self) -> None: ...


class Publisher(Protocol):
    """Rings the bell: asks that a step be run soon. Carries ids only; may lose or repeat."""

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None: ...


class Scored(msgspec.Struct, frozen=True):
    """How likely answers are right, by who gave them; `gain` is what asking the strong candidate
    is worth beside them, at its price, and `least` from where on training would ask it."""

    likely: Mapping[str, float]
    gain: float
    least: float


class Scorer(Protocol):
    """Tells how likely answers are right, by the router model whose row has the id `model`."""

    async def score(self, model: int, prompt: str, answers: Mapping[str, str]) -> Scored | None:
        """Of several candidates' answers to one prompt, by name; those of candidates whom the
        model's cascade does not ask are left out. None where nothing can tell. Raises nothing."""


class Keys(Protocol):
    """Gives the API key that a reference (`env:NAME`, `file:/path`) leads to. Only worker
    processes that call models have one; tests hand in a dict."""

    def get(self, reference: str, /) -> str | None: ...
