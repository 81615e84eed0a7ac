"""One call: the only way to a model.

Money and permit are taken before (`lane` does it a window at a time); here the call is
built, sent and read, and what became of it is decided.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from core.deployment import Deployment, Reply, Usage
from core.errors import ConfigError
from core.ports import Keys, Limiter, Transport
from core.status import AttemptStatus, ResultStatus
from core.work import Entry, Move, Result, Settled
from providers.adapters import adapter_for
from providers.errors import ErrorClass, ProviderError, TransportError, from_transport
from providers.prices import cost_nusd
from providers.tokens import recounted
from tasks.bounds import bound_nusd, guess_nusd, size_of
from tasks.decide import Tried, decide
from tasks.trace import traced

log = structlog.get_logger()

DEFAULT_THROTTLE = 1.0
BROKE_DOWN = "batchyard could not deal with this request or its answer: see the worker's log"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call needs: where to send, with which keys, and whom to tell of a 429."""

    deployments: Mapping[str, Deployment]
    keys: Keys
    transport: Transport
    limiter: Limiter


async def attempt(caller: Caller, entry: Entry) -> Settled:
    """Sends one request to its chunk's deployment and settles it."""
    deployment = caller.deployments[entry.chunk.deployment]
    started = time.perf_counter()
    try:
        outcome = await _exchange(caller, entry, deployment)
    except Exception as error:  # noqa: BLE001
        # One request that trips over a defect of ours must not end its neighbours' calls.
        log.error("call broke down", job=entry.chunk.job_id, seq=entry.seq, **traced(error))
        outcome = ProviderError(ErrorClass.UNKNOWN, None, "internal", BROKE_DOWN, billed=True)
    latency_ms = round((time.perf_counter() - started) * 1000)
    if isinstance(outcome, Reply):
        return _answered(entry, deployment, outcome, latency_ms)
    if outcome.error_class is ErrorClass.THROTTLED:
        pause = DEFAULT_THROTTLE if outcome.retry_after is None else outcome.retry_after
        await caller.limiter.pause(deployment.buckets.key, pause)
    return _failed(caller, entry, deployment, outcome, latency_ms)


async def _exchange(caller: Caller, entry: Entry, deployment: Deployment) -> Reply | ProviderError:
    adapter = adapter_for(deployment.kind)
    try:
        key = caller.keys.get(deployment.provider)
    except ConfigError as error:
        return ProviderError(ErrorClass.CREDENTIAL_DEAD, None, "no_key", str(error))
    call = adapter.build(
        deployment,
        key,
        entry.body,
        max_output=entry.chunk.plan.max_output,
        request_id=f"{entry.chunk.job_id}-{entry.seq}",
    )
    try:
        answer = await caller.transport.send(call)
    except TransportError as error:
        return from_transport(error)
    return adapter.parse(answer.status, answer.headers, answer.body)


def _answered(entry: Entry, deployment: Deployment, reply: Reply, latency_ms: int) -> Settled:
    return Settled(
        entry=entry,
        status=AttemptStatus.OK,
        latency_ms=latency_ms,
        cost_nusd=_cost(entry, deployment, reply.usage, billed=True),
        usage=reply.usage,
        http_status=reply.status,
        error=None if reply.usage else "no usage reported: booked at its bound",
        result=Result(
            ResultStatus.COMPLETED,
            http_status=reply.status,
            request_id=reply.request_id,
            body=reply.body.decode("utf-8", "replace"),
        ),
    )


def _failed(
    caller: Caller, entry: Entry, deployment: Deployment, error: ProviderError, latency_ms: int
) -> Settled:
    chunk = entry.chunk
    tried = Tried(chunk.candidate, chunk.tries[entry.index], chunk.calls[entry.index])
    decision = decide(error, tried, chunk.plan, jitter=random.random(), known=caller.deployments)
    settled = Settled(
        entry=entry,
        status=(
            AttemptStatus.UNKNOWN
            if error.error_class is ErrorClass.UNKNOWN
            else AttemptStatus.ERROR
        ),
        latency_ms=latency_ms,
        cost_nusd=_cost(entry, deployment, error.usage, billed=error.billed),
        usage=error.usage,
        http_status=error.status,
        error_class=error.error_class,
        error=error.message,
    )
    if isinstance(decision, Result):
        settled.result = decision
    else:
        settled.move = move_to(
            caller.deployments,
            entry,
            decision.candidate,
            decision.tries,
            decision.delay,
            decision.reason,
        )
    return settled


def move_to(
    deployments: Mapping[str, Deployment],
    entry: Entry,
    candidate: int,
    tries: int,
    delay: float,
    reason: str,
) -> Move:
    """The entry's next chunk; its bound is the next candidate's."""
    chunk = entry.chunk
    name = chunk.plan.candidates[candidate]
    bound = entry.bound
    if candidate != chunk.candidate:
        size = size_of(recounted(entry.body, entry.tokens), deployments[name], chunk.plan)
        # Routing refused what has no bound on any candidate of a job with a budget.
        known = bound_nusd(size, deployments[name])
        bound = guess_nusd(size, deployments[name]) if known is None else known
    return Move(candidate, name, tries, bound, delay, reason)


def _cost(entry: Entry, deployment: Deployment, usage: Usage | None, *, billed: bool) -> int | None:
    """Nano-dollars; the bound where money may be gone and nobody counted; None when the
    deployment has no price."""
    if usage is None and not billed:
        return 0
    if deployment.price is None:
        return None
    return entry.bound if usage is None else cost_nusd(deployment.price, usage)
