"""How far ahead work is bound to a deployment: half a minute of what it and its key can do, as
far as that is known."""

import math
from typing import Final, NamedTuple

from core.deployment import Deployment
from core.ports import Buckets
from db.vitals import Vital
from tasks.calls.permits import USUAL_OUTPUT

HORIZON: Final = 30.0
CHUNK: Final = 200
LEAST_AHEAD: Final = 2 * CHUNK
"""Requests that are bound ahead to a deployment of which nobody knows what it can do."""
FIRST_IN_FLIGHT: Final = 16
"""Calls that are at once on their way, to begin with, where no limit is declared."""
PIECES: Final = 16
LEAST_PIECE: Final = 8
FIRST_PER_CALL: Final = 40
"""Requests that are bound ahead, for each call that may be on its way, while nobody knows how
long one takes."""


class Mean(NamedTuple):
    """A mean request: its tokens in, and its limit of tokens out."""

    tokens: float
    outputs: float


def ahead_of(deployment: Deployment, vital: Vital, mean: Mean | None) -> int:
    """Requests that may be bound to the deployment at once: what it sends in half a minute at
    its present rate, or is likely to, and never more than its limits and its key's grant in that
    time. `mean` is what waits for it, None where these do not count tokens."""
    limits = limits_of(deployment)
    in_flight = min((one.in_flight for one in limits if one.in_flight), default=0)
    least = _least(in_flight, vital.latency_ms)
    ahead = max(least, 4 * in_flight, round(HORIZON * vital.rate))
    most = granted_ahead(deployment, vital, mean)
    return ahead if most == math.inf else max(1, min(ahead, round(most)))


def granted_ahead(deployment: Deployment, vital: Vital, mean: Mean | None) -> float:
    """How many such requests its limits and its key's grant in the horizon; infinite where none
    of them is on a rate."""
    if mean is not None:
        mean = Mean(mean.tokens, counted_output(deployment, vital, mean.outputs))
    minute = min(a_minute(one, mean) for one in limits_of(deployment))
    return HORIZON * minute / 60


def is_known(vital: Vital, granted: float) -> bool:
    """Whether anything tells how fast a deployment is."""
    return vital.latency_ms is not None or granted < math.inf


def piece_of(deployment: Deployment, vital: Vital, granted: float) -> int:
    """In pieces of how many requests it is bound, where `granted` is what its limits grant in the
    horizon: what it sends in about two seconds, so that lanes of a slow deployment hold little of
    what another one may have."""
    sends = granted
    if vital.latency_ms is not None:
        flying = deployment.buckets.in_flight or max(FIRST_IN_FLIGHT, vital.in_flight)
        sends = min(sends, HORIZON * 1000 * flying / max(vital.latency_ms, 1))
    return max(LEAST_PIECE, min(CHUNK, round(sends / PIECES))) if sends < math.inf else CHUNK


def _least(in_flight: int, latency_ms: float | None) -> int:
    """What is bound ahead however slow the rate: it may merely have begun."""
    if latency_ms is None:
        return min(LEAST_AHEAD, FIRST_PER_CALL * in_flight) if in_flight else LEAST_AHEAD
    flying = in_flight or FIRST_IN_FLIGHT
    # Twice what flies, so that a first reply finds the next request.
    return min(LEAST_AHEAD, max(2 * flying, round(HORIZON * 1000 * flying / max(latency_ms, 1))))


def a_minute(limits: Buckets, mean: Mean | None) -> float:
    """How many such requests the limits on rates grant in a minute, `outputs` as they are counted;
    infinite without limits."""
    grants = [math.inf if limits.rpm is None else float(limits.rpm)]
    if mean is not None:
        asked = (
            (limits.tpm, mean.tokens + mean.outputs),
            (limits.input_tpm, mean.tokens),
            (limits.output_tpm, mean.outputs),
        )
        grants += [most / max(tokens, 1.0) for most, tokens in asked if most is not None]
    return min(grants)


def counted_output(deployment: Deployment, vital: Vital, outputs: float) -> float:
    """Tokens out of a request with this limit of them, as the deployment's limits count them."""
    if deployment.counts_asked:
        return outputs
    usual = USUAL_OUTPUT if vital.output_tokens is None else vital.output_tokens
    return min(usual, outputs)


def counts_tokens(limits: Buckets | None) -> bool:
    """Whether these limits, where there are some, count tokens."""
    return limits is not None and any(
        most is not None for most in (limits.tpm, limits.input_tpm, limits.output_tpm)
    )


def limits_of(deployment: Deployment) -> list[Buckets]:
    """Its own limits, and those of its key where that has some."""
    return [one for one in (deployment.buckets, deployment.key_buckets) if one is not None]
