"""Enforced rates: token buckets for requests and tokens per minute, a cap on open calls, and slots
that calls queue for."""

import heapq
import math
from typing import Literal

import msgspec

from providers.simulator.profile import Limits

LimitKind = Literal["requests", "tokens", "in_flight"]


class Gauge(msgspec.Struct, frozen=True, gc=False):
    """One bucket as a caller is told it: per-minute limit, what is left, seconds until full."""

    limit: int
    remaining: int
    reset_s: float


class OverLimit(msgspec.Struct, frozen=True, gc=False):
    """Why a call was refused; `wait_s` is None where no wait will help."""

    kind: LimitKind
    limit: int
    used: int
    requested: int
    wait_s: float | None


class Bucket:
    """A token bucket of `per_minute` that holds `burst_s` seconds of its rate, at least one unit.

    A single charge above the capacity is let through when the bucket is full and puts it into
    debt, so that the long-run rate holds and nothing below one minute's rate starves.
    """

    __slots__ = ("at", "capacity", "level", "limit", "per_minute", "rate")

    def __init__(self, per_minute: float, burst_s: float, now: float) -> None:
        self.per_minute = per_minute
        self.limit = int(per_minute)
        self.rate = per_minute / 60.0
        self.capacity = max(1.0, self.rate * burst_s)
        self.level = self.capacity
        self.at = now

    def refill(self, now: float) -> None:
        if now > self.at:
            self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
            self.at = now

    def wait(self, units: float) -> float:
        """Seconds until `units` may be taken: 0 now, infinite where they exceed a minute's rate."""
        if units > max(self.per_minute, self.capacity):
            return math.inf
        missing = min(units, self.capacity) - self.level
        # Refills are floats: a millionth of a unit is not a reason to refuse.
        return 0.0 if missing <= 1e-6 else missing / self.rate

    def gauge(self) -> Gauge:
        """What a caller is told, as of the last refill."""
        level = self.level
        remaining = int(level + 1e-6) if level > 0.0 else 0
        return Gauge(self.limit, remaining, (self.capacity - level) / self.rate)


class Slots:
    """Calls worked on at once, in the order in which they came. Whoever hangs up leaves no room:
    most servers go on with what they have begun."""

    __slots__ = ("_free_at",)

    def __init__(self, number: int, now: float) -> None:
        self._free_at = [now] * number

    def wait(self, seconds: float, now: float) -> float:
        """Gives the call that takes so long the slot that is free first; seconds until then."""
        begins = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, begins + seconds)
        return begins - now


class Limiter:
    """All limits of one provider or one model, charged all-or-nothing."""

    __slots__ = ("_slots", "in_flight", "limits", "requests", "tokens")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.requests = Bucket(limits.rpm, limits.burst_s, now) if limits.rpm else None
        self.tokens = Bucket(limits.tpm, limits.burst_s, now) if limits.tpm else None
        self._slots = Slots(limits.slots, now) if limits.slots else None
        self.in_flight = 0

    def admit(self, tokens: int, now: float) -> OverLimit | None:
        """Charges one request and `tokens`, and opens a call; or says which limit is in the way."""
        cap = self.limits.in_flight
        if cap is not None and self.in_flight >= cap:
            return OverLimit("in_flight", cap, self.in_flight, 1, None)
        over = self._over("requests", self.requests, 1, now)
        over = over or self._over("tokens", self.tokens, tokens, now)
        if over is not None:
            return over
        if self.requests is not None:
            self.requests.level -= 1
        if self.tokens is not None:
            self.tokens.level -= tokens
        self.in_flight += 1
        return None

    def _over(
        self, kind: LimitKind, bucket: Bucket | None, units: int, now: float
    ) -> OverLimit | None:
        if bucket is None:
            return None
        bucket.refill(now)
        wait = bucket.wait(units)
        if wait == 0.0:
            return None
        used = max(0, int(bucket.per_minute - max(bucket.level, 0.0)))
        return OverLimit(
            kind, int(bucket.per_minute), used, units, None if math.isinf(wait) else wait
        )

    def queue(self, seconds: float, now: float) -> float:
        """Seconds that an admitted call, which takes so long, waits for its turn."""
        return 0.0 if self._slots is None else self._slots.wait(seconds, now)

    def release(self) -> None:
        """Closes a call that `admit` opened."""
        self.in_flight -= 1
