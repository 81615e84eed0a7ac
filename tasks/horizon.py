"""How far ahead work is bound to a deployment: half a minute of what it can do, as far as that is
known."""

import math
from typing import Final, NamedTuple

from core.deployment import Deployment
from db.vitals import Vital
from tasks.calls.permits import USUAL_OUTPUT

HORIZON: Final = 30.0
CHUNK: Final = 200
LEAST_AHEAD: Final = 2 * CHUNK
"""Requests that are bound ahead to a deployment of which nobody knows what it can do."""
FIRST_IN_FLIGHT: Final = 16
"""Calls that are at once on their way, to begin with, where no limit is declared."""
FIRST_PER_CALL: Final = 40
"""Requests that are bound ahead, for each call that may be on its way, while nobody knows how
long one takes."""


class Mean(NamedTuple):
    """A mean request: its tokens in, and its limit of tokens out."""

    tokens: float
    outputs: float


def ahead_of(deployment: Deployment, vital: Vital, mean: Mean | None) -> int:
    """Requests that may be bound to the deployment at once: what it sends in half a minute at
    its present rate, or is likely to, and never more than its limits grant in that time. `mean`
    is what waits for it, None where its limits do not count tokens."""
    in_flight = deployment.buckets.in_flight or 0
    least = _least(in_flight, vital.latency_ms)
    ahead = max(least, 4 * in_flight, round(HORIZON * vital.rate))
    minute = _a_minute(deployment, vital, mean)
    return ahead if minute == math.inf else max(1, min(ahead, round(HORIZON * minute / 60)))


def _least(in_flight: int, latency_ms: float | None) -> int:
    """What is bound ahead however slow the rate: it may merely have begun."""
    if latency_ms is None:
        return min(LEAST_AHEAD, FIRST_PER_CALL * in_flight) if in_flight else LEAST_AHEAD
    flying = in_flight or FIRST_IN_FLIGHT
    # Twice what flies, so that a first reply finds the next request.
    return min(LEAST_AHEAD, max(2 * flying, round(HORIZON * 1000 * flying / max(latency_ms, 1))))


def _a_minute(deployment: Deployment, vital: Vital, mean: Mean | None) -> float:
    """How many such requests the declared limits grant in a minute; infinite without limits."""
    limits = deployment.buckets
    grants = [math.inf if limits.rpm is None else float(limits.rpm)]
    if mean is not None:
        output = _output(deployment, vital, mean)
        asked = (
            (limits.tpm, mean.tokens + output),
            (limits.input_tpm, mean.tokens),
            (limits.output_tpm, output),
        )
        grants += [most / max(tokens, 1.0) for most, tokens in asked if most is not None]
    return min(grants)


def _output(deployment: Deployment, vital: Vital, mean: Mean) -> float:
    """Tokens out as the deployment's limits count them."""
    if deployment.counts_asked:
        return mean.outputs
    usual = USUAL_OUTPUT if vital.output_tokens is None else vital.output_tokens
    return min(usual, mean.outputs)


def counts_tokens(deployment: Deployment) -> bool:
    """Whether its declared limits count tokens."""
    limits = deployment.buckets
    return any(most is not None for most in (limits.tpm, limits.input_tpm, limits.output_tpm))
