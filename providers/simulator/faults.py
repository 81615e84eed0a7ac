"""Injected faults and latency, drawn from the seed.

A draw depends on the seed, the provider's name, the request id and how often that id was
admitted before: never on the order in which calls arrive.
"""

import hashlib
import math
import struct
from statistics import NormalDist

import msgspec

from providers.simulator.profile import Faults, Latency, Outage

_WORDS = struct.Struct("<3Q")
_UNIT = 2.0**-64
_NORMAL = NormalDist()


class Draw(msgspec.Struct, frozen=True, gc=False):
    """What befalls one call: `kind` names the fault ("" for none), `billed` counts for
    resets and hangs; `normal` is the latency's standard normal value; `token` names the call."""

    kind: str
    billed: bool
    normal: float
    token: str


class FaultDice:
    """Draws for one provider."""

    __slots__ = ("_faults", "_latency", "_prefix", "_reach", "_spread", "_steps", "chancy")

    def __init__(self, seed: int, provider: str, faults: Faults, latency: Latency) -> None:
        self._prefix = f"{seed}\0{provider}\0"
        self._faults = faults
        self._latency = latency
        steps: list[tuple[float, str]] = []
        reached = 0.0
        for kind, share in faults.shares():
            reached += share
            if share > 0.0:
                steps.append((reached, kind))
        self._steps = tuple(steps)
        self._reach = reached
        self._spread = latency.kind == "lognormal"
        # False where every draw would say the same: no faults and a fixed latency.
        self.chancy = bool(steps) or self._spread

    def roll(self, request_id: str, nth: int) -> Draw:
        """The draw of the `nth` admitted call of `request_id`."""
        digest = hashlib.blake2b(
            f"{self._prefix}{request_id}\0{nth}".encode("utf-8", "surrogatepass"), digest_size=32
        ).digest()
        first, second, third = _WORDS.unpack_from(digest)
        kind = ""
        if first * _UNIT < self._reach:
            value = first * _UNIT
            kind = next(name for edge, name in self._steps if value < edge)
        normal = 0.0
        if self._spread:
            # The half step keeps the value inside (0, 1), where the inverse is defined.
            normal = _NORMAL.inv_cdf(((third >> 12) + 0.5) * 2.0**-52)
        billed = not kind or self._billed(kind, second * _UNIT)
        return Draw(kind, billed, normal, digest.hex()[32:])

    def _billed(self, kind: str, value: float) -> bool:
        if kind == "reset":
            return value < self._faults.reset_billed
        if kind == "hang":
            return value < self._faults.hang_billed
        return True

    def latency_s(self, draw: Draw, output_tokens: int) -> float:
        """Seconds this call takes, of which `per_output_token_ms` for each token written."""
        spec = self._latency
        ms = spec.ms
        if spec.kind == "lognormal":
            ms *= math.exp(spec.sigma * draw.normal)
        ms += spec.per_output_token_ms * output_tokens
        if draw.kind == "slow":
            ms *= self._faults.slow_factor
        return ms / 1000.0

    def outage(self, elapsed_s: float) -> Outage | None:
        """The outage that holds `elapsed_s` seconds after the faults clock began, if any."""
        for window in self._faults.outages:
            if window.start_s <= elapsed_s < window.start_s + window.duration_s:
                return window
        return None
