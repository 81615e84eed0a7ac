"""One call: the only way to a model.

Money and permit are taken before (`lane` does it a window at a time); here the call is
built, sent and read, and what became of it is decided.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import structlog

from core.checks import NO_CHECKS
from core.deployment import Deployment, Reply
from core.errors import ConfigError
from core.ports import Buckets, HttpCall, Keys, Limiter, Scorer, Transport
from core.status import AttemptStatus, ResultStatus
from core.work import Entry, Move, Result, Settled
from providers.adapters import adapter_for
from providers.errors import ErrorClass, ProviderError, TransportError, from_transport
from tasks.bounds import bound_nusd
from tasks.calls.answers import checked
from tasks.calls.cascade import cascade_of, instead, is_step, step
from tasks.calls.charge import Charge, charge
from tasks.calls.decide import Again, Tried, decide
from tasks.calls.trace import traced
from tasks.health import Health
from tasks.meters import Meters

log = structlog.get_logger()

# A server that asks for more than this is not there for anybody else either.
LONG_WAIT = 5.0
LONGEST_HOLD = 5.0
BROKE_DOWN = "batchyard could not deal with this request or its answer: see the worker's log"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call needs: where to send, with which keys, whom to tell how it went, and what counts
    it. `projects` are the limits of those projects that have some; `scorer` judges the answers
    of cascades that have learned to."""

    deployments: Mapping[str, Deployment]
    keys: Keys
    transport: Transport
    limiter: Limiter
    health: Health = field(default_factory=Health)
    meters: Meters = field(default_factory=Meters)
    projects: Mapping[str, Buckets] = field(default_factory=dict)
    scorer: Scorer | None = None

    def ready(self, name: str) -> bool:
        """Whether calls can be made to the deployment now: it is open, and its key is there. A
        key that is nowhere to be found closes it, before anything is sent or counted."""
        if not self.health.sends(name):
            return False
        try:
            self.key_of(self.deployments[name])
        except ConfigError as error:
            self.health.lost_key(name, str(error))
            return False
        return True

    def key_of(self, deployment: Deployment) -> str | None:
        """Its key; None where it needs none. Raises ConfigError."""
        reference = deployment.api_key
        return None if reference is None else self.keys.get(reference)


async def attempt(caller: Caller, entry: Entry) -> Settled:
    """Sends one request to its chunk's deployment and settles it. What was paused since its
    permit was granted waits for the pause, `LONGEST_HOLD` seconds at most."""
    deployment = caller.deployments[entry.chunk.deployment]
    if not entry.probe:
        await caller.limiter.hold(deployment.buckets.key, LONGEST_HOLD)
    began = time.monotonic()
    sent = broken = False
    outcome: Reply | ProviderError
    rejected: ProviderError | None = None
    try:
        call = _call(caller, entry, deployment)
        sent = True
        outcome = await _exchange(caller, call, deployment)
        if isinstance(outcome, Reply):
            rejected = _rejected(entry, outcome)
            if rejected is not None and rejected.error_class is ErrorClass.MALFORMED:
                outcome = rejected
    except Exception as error:  # noqa: BLE001
        # One request that trips over a defect of ours must not end its neighbours' calls.
        log.error("call broke down", job=entry.chunk.job_id, seq=entry.seq, **traced(error))
        broken = True
        leaf = ErrorClass.UNKNOWN if sent else ErrorClass.TRANSIENT
        outcome = ProviderError(leaf, None, "internal", BROKE_DOWN, billed=sent)
    latency_ms = round((time.monotonic() - began) * 1000)
    if not broken:
        outcome = _told_health(caller, entry, deployment, outcome, began)
    if isinstance(outcome, Reply):
        return await _landed(caller, entry, deployment, outcome, rejected, latency_ms)
    pause, throttled = _pause(outcome), outcome.error_class is ErrorClass.THROTTLED
    if pause:
        caller.meters.paused(deployment.name, pause)
    if pause or throttled:
        epoch = entry.epoch if throttled else -1
        await caller.limiter.pause(deployment.buckets.key, pause, epoch, began)
    return _failed(caller, entry, deployment, outcome, latency_ms)


async def _landed(
    caller: Caller,
    entry: Entry,
    deployment: Deployment,
    reply: Reply,
    rejected: ProviderError | None,
    latency_ms: int,
) -> Settled:
    """What becomes of an answer."""
    escalates = rejected is not None and is_step(entry, rejected)
    if rejected is not None and not escalates:
        settled = _failed(caller, entry, deployment, rejected, latency_ms)
        # With nobody left to ask, a refusal is an answer as elsewhere.
        if settled.result is None or rejected.error_class is not ErrorClass.REFUSED:
            return _with_answer(settled, reply)
    settled = _answered(caller, entry, deployment, reply, latency_ms)
    cascade = cascade_of(entry)
    if cascade is None:
        return settled
    bounds = _open_to(entry, caller.deployments, wider=False)
    flaw = rejected.message if rejected is not None and escalates else ""
    return await step(caller.scorer, caller.health, cascade, settled, bounds, flaw)


def _rejected(entry: Entry, reply: Reply) -> ProviderError | None:
    """Why an answer does not count: its plan sends refusals to others, or checks answers."""
    plan = entry.chunk.plan
    if reply.refused and plan.refused:
        told = "the answer is a refusal, which the route sends to others"
        return ProviderError(
            ErrorClass.REFUSED, reply.status, "refusal", told, billed=True, usage=reply.usage
        )
    return checked(entry, reply) if plan.checks != NO_CHECKS else None


def _pause(error: ProviderError) -> float:
    """Seconds for which nobody should call the deployment; zero where only the request waits.
    A 429 that names no time pauses nobody else: it may be a stray one, and where it is not, the
    limiter sends less."""
    wait = error.retry_after
    if error.error_class is ErrorClass.THROTTLED:
        return wait or 0.0
    if error.error_class is ErrorClass.OVERLOADED and wait is not None and wait > LONG_WAIT:
        return wait
    return 0.0


def _call(caller: Caller, entry: Entry, deployment: Deployment) -> HttpCall:
    """What is to be sent. Nothing that goes wrong here can cost money."""
    plan = entry.chunk.plan
    call = adapter_for(deployment.kind).build(
        deployment,
        caller.key_of(deployment),
        entry.body,
        max_output=plan.max_output,
        request_id=f"{entry.chunk.job_id}-{entry.seq}",
    )
    if plan.timeout is not None and plan.timeout < call.timeout:
        return msgspec.structs.replace(call, timeout=plan.timeout)
    return call


def _told_health(
    caller: Caller,
    entry: Entry,
    deployment: Deployment,
    outcome: Reply | ProviderError,
    began: float,
) -> Reply | ProviderError:
    """Tells how the call went. One that the request's own timeout ended is no sign of an ill
    deployment; the next candidate may be faster, where there is one."""
    failed = None if isinstance(outcome, Reply) else outcome
    timeout = entry.chunk.plan.timeout
    own = timeout is not None and timeout < deployment.timeout
    if own and failed is not None and failed.error_class is ErrorClass.UNKNOWN:
        return replace(failed, elsewhere=True)
    caller.health.saw(deployment, failed, began)
    return outcome


async def _exchange(
    caller: Caller, call: HttpCall, deployment: Deployment
) -> Reply | ProviderError:
    flying = caller.meters.flying
    flying[deployment.name] += 1
    try:
        answer = await caller.transport.send(call)
    except TransportError as error:
        return from_transport(error)
    finally:
        flying[deployment.name] -= 1
    caller.limiter.hear(deployment.buckets.key, answer.headers)
    return adapter_for(deployment.kind).parse(answer.status, answer.headers, answer.body)


def _answered(
    caller: Caller, entry: Entry, deployment: Deployment, reply: Reply, latency_ms: int
) -> Settled:
    charged = charge(entry, deployment, reply.usage, billed=True)
    _warn(caller, deployment, charged)
    return Settled(
        entry=entry,
        status=AttemptStatus.OK,
        latency_ms=latency_ms,
        cost_nusd=charged.cost_nusd,
        unbooked_nusd=charged.unbooked_nusd,
        usage=charged.usage,
        http_status=reply.status,
        error=charged.note if reply.usage else "no usage reported: booked at its bound",
        result=Result(
            ResultStatus.COMPLETED,
            http_status=reply.status,
            request_id=reply.request_id,
            body=reply.body.decode("utf-8", "replace"),
        ),
    )


def _warn(caller: Caller, deployment: Deployment, charged: Charge) -> None:
    """Of the first such call of each deployment; how many they are is counted as they are
    recorded."""
    if charged.note is not None and caller.meters.of(deployment.name).above_bound == 0:
        log.warning(
            "provider reports more than was reserved",
            deployment=deployment.name,
            reason=charged.note,
        )


def _with_answer(settled: Settled, reply: Reply) -> Settled:
    """Where nothing else is tried, the answer that did not pass stays to be seen."""
    if settled.result is not None and settled.result.of is None:
        settled.result = msgspec.structs.replace(
            settled.result,
            http_status=reply.status,
            request_id=reply.request_id,
            body=reply.body.decode("utf-8", "replace"),
        )
    return settled


def _failed(
    caller: Caller, entry: Entry, deployment: Deployment, error: ProviderError, latency_ms: int
) -> Settled:
    onward = go_on(
        caller.deployments,
        entry,
        error,
        jitter=random.random(),
        down=caller.health.condition(deployment.name).down,
    )
    charged = charge(entry, deployment, error.usage, billed=error.billed)
    _warn(caller, deployment, charged)
    return Settled(
        entry=entry,
        status=(
            AttemptStatus.UNKNOWN
            if error.error_class is ErrorClass.UNKNOWN
            else AttemptStatus.ERROR
        ),
        latency_ms=latency_ms,
        cost_nusd=charged.cost_nusd,
        unbooked_nusd=charged.unbooked_nusd,
        usage=charged.usage,
        http_status=error.status,
        error_class=error.error_class,
        error=f"{error.message} ({charged.note})" if charged.note else error.message,
        result=onward if isinstance(onward, Result) else None,
        move=onward if isinstance(onward, Move) else None,
    )


def go_on(
    deployments: Mapping[str, Deployment],
    entry: Entry,
    error: ProviderError,
    *,
    jitter: float,
    down: bool = False,
) -> Move | Result:
    """What becomes of an entry whose call failed: its next chunk, at the bound of the
    deployment it stands at, or its failed result, in place of which stands the best answer that
    a cascade has of it already. `jitter` is a random number in [0, 1), `down`
    as in `decide`.

    Under a budget it goes only where its cost has a known bound, and nowhere where it does not
    fit the window.
    """
    chunk = entry.chunk
    tries, calls = chunk.tries[entry.index], chunk.calls[entry.index]
    tried = Tried(chunk.candidate, tries, calls, chunk.excluded, chunk.among)
    bounds = _open_to(entry, deployments, wider=error.error_class is ErrorClass.TOO_LONG)
    may = sum(1 << candidate for candidate in bounds)
    decision = decide(error, tried, chunk.plan, jitter=jitter, may=may, down=down)
    if isinstance(decision, Result):
        return instead(entry, decision)
    if isinstance(decision, Again):
        return Move(
            chunk.candidate,
            chunk.deployment,
            decision.tries,
            entry.bound,
            decision.delay,
            decision.reason,
            chunk.excluded,
            chunk.among,
            decision.behind,
        )
    open_ = may & ~decision.excluded
    first = next(one for one in chunk.plan.listed(decision.among) if open_ >> one & 1)
    return Move(
        first,
        chunk.plan.candidates[first],
        decision.tries,
        bounds[first],
        0.0,
        decision.reason,
        decision.excluded,
        decision.among,
    )


def _open_to(entry: Entry, deployments: Mapping[str, Deployment], *, wider: bool) -> dict[int, int]:
    """The candidates that may be called for the entry, each with its bound there: the present
    one, and those that it fits; with `wider` only those with a window that is larger."""
    chunk = entry.chunk
    size = chunk.size_of(entry.index)
    present = deployments.get(chunk.deployment)
    least = (present.context or 0) if present is not None and wider else 0
    bounds = {}
    for index, name in enumerate(chunk.plan.candidates):
        deployment = deployments.get(name)
        if deployment is None or (chunk.limited and deployment.price is None):
            continue
        if index == chunk.candidate:
            bounds[index] = entry.bound
            continue
        bound = bound_nusd(size, deployment, limited=chunk.limited)
        needed = max(size.tokens + size.output, least + 1)
        if bound is not None and (deployment.context is None or deployment.context >= needed):
            bounds[index] = bound
    return bounds
