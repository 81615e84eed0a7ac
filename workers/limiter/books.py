"""What this process knows of a scope: its calls in flight, what it has to tell the server, and
what the server said last."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.brake import AT_ONCE, Brake, Limit
from core.ports import Ask, Buckets, Return
from providers.rate_headers import Told, read_limits
from workers.limiter.doubt import Doubt

LOOK_EVERY = 0.1
"""Seconds: how often the server is asked how the trial of a 429's pause stands."""
NOTHING_TOLD = Told()
# In the order of the script's numbers.
LIMITS = (
    Limit.REQUESTS, Limit.TOKENS, Limit.INPUT, Limit.OUTPUT, Limit.CALLS, Limit.PAUSE
)  # fmt: skip
CALLS = 1 + LIMITS.index(Limit.CALLS)
HEAD, FIELDS = 7, 10
"""Numbers in the script's answer: for all, and per scope."""


@dataclass(slots=True)
class Word:
    """The server's last word on a scope: calls at once and rates a minute (requests, tokens,
    input, output) in force, 0 for no limit; and how many processes shared them."""

    in_flight: int
    rates: tuple[int, ...]
    holders: int


@dataclass(slots=True)
class Book:
    """One scope. `adapts` says that it is a line: it learns from what its provider says."""

    buckets: Buckets
    adapts: bool
    flying: int = 0
    changed: bool = False
    back_requests: int = 0
    back_input: int = 0
    back_output: int = 0
    answered: int = 0
    answered_ms: int = 0
    refused: int = 0
    heard: Mapping[str, str] | None = None
    epoch: int = 0
    throttled: int = -1
    paused_until: float = 0.0
    doubted_until: float = 0.0
    doubted_at: float = 0.0
    tried: bool = False
    doubt: Doubt = field(default_factory=Doubt)
    word: Word | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pause(self) -> float:
        """Seconds left of the pause that this process knows of."""
        return max(0.0, max(self.paused_until, self.doubted_until) - time.monotonic())

    @property
    def wait(self) -> float:
        """Seconds after which a pause is worth asking about again."""
        now = time.monotonic()
        stands, doubted = self.paused_until - now, self.doubted_until - now
        return max(0.0, stands, min(doubted, LOOK_EVERY) if self.tried else doubted)

    def doubt_for(self, seconds: float) -> None:
        """The pause of a 429, which other calls may contradict."""
        now = time.monotonic()
        if self.doubted_until <= now:
            self.doubted_at, self.tried = now, True
        self.doubted_until = max(self.doubted_until, now + seconds)

    def end_doubt(self) -> None:
        """A 429's pause is over."""
        self.doubted_until = 0.0
        self.ended.set()

    async def reopened(self, longest: float) -> None:
        """Until no pause is known, `longest` seconds at most."""
        end = time.monotonic() + longest
        while (wait := min(self.pause, end - time.monotonic())) > 0:
            self.ended.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), wait)

    def pause_for(self, seconds: float) -> None:
        """A longer pause that stands already is not cut short."""
        self.paused_until = max(self.paused_until, time.monotonic() + seconds)

    def brake(self, number: int) -> Brake:
        """What of the scope is in the way, by the script's number."""
        what = LIMITS[number - 1]
        if what is Limit.CALLS and self.buckets.in_flight is None:
            what = Limit.WINDOW
        word = self.word
        if what is Limit.PAUSE or word is None:
            return Brake(self.buckets.key, what)
        most = float(word.in_flight if what in AT_ONCE else word.rates[number - 1])
        return Brake(self.buckets.key, what, most)

    @property
    def room(self) -> int | None:
        """Calls that this process could add at most, where only the end of its own calls can
        change that; None where the server must be asked."""
        declared = self.buckets.in_flight
        if declared is None or self.word is None or self.word.in_flight != declared:
            return None
        return max(0, declared - self.flying)

    def take_back(self, back: Return) -> None:
        """Kept until it is told."""
        self.flying = max(0, self.flying - back.calls)
        self.back_requests += back.requests
        self.back_input += back.input
        self.back_output += back.output
        if back.latency_ms is not None and self.adapts:
            self.answered += 1
            self.answered_ms += back.latency_ms
        self.changed = True

    def contradicts(self, back: Return) -> bool:
        """Whether this answer is the one too many for the pause that a 429 named."""
        if back.latency_ms is None or not self.adapts:
            return False
        now = time.monotonic()
        return self.doubt.answered(now - back.latency_ms / 1000, now)

    def tell(self) -> dict[str, Any]:
        """What the script is to know of the scope; told by this."""
        limits = self.buckets
        told = read_limits(self.heard) if self.heard is not None else NOTHING_TOLD
        said = {
            "rpm": limits.rpm or 0,
            "tpm": limits.tpm or 0,
            "input_tpm": limits.input_tpm or 0,
            "output_tpm": limits.output_tpm or 0,
            "in_flight": limits.in_flight or 0,
            "adapts": self.adapts,
            "mine": self.flying,
            "back_requests": self.back_requests,
            "back_input": self.back_input,
            "back_output": self.back_output,
            "answered": self.answered,
            "answered_ms": self.answered_ms,
            "refused": self.refused,
            "told": [limit or 0 for limit in told.limits],
            "left": [-1 if left is None else left for left in told.left],
        }
        self.back_requests = self.back_input = self.back_output = 0
        self.answered = self.answered_ms = self.refused = 0
        self.heard, self.changed = None, False
        return said

    def untold(self, said: dict[str, Any]) -> None:
        """It may not have arrived: debts are told again, gifts are not."""
        self.back_requests += min(0, said["back_requests"])
        self.back_input += min(0, said["back_input"])
        self.back_output += min(0, said["back_output"])
        self.changed = True

    def learn(self, numbers: Sequence[int], holders: int, asked: float) -> None:
        """The script's numbers on the scope, asked for at that time. Who asked before a 429
        came here does not know of its pause."""
        pause, doubt, tried, strays, self.epoch, in_flight, *rates = numbers
        if strays:
            self.doubt.believe(time.monotonic())
        if pause > 0:
            self.pause_for(pause / 1000)
        if doubt > 0:
            self.doubt_for(doubt / 1000)
            self.tried = bool(tried)
        elif asked > self.doubted_at:
            self.end_doubt()
        self.word = Word(in_flight, tuple(rates), holders)


def question(
    holder: str,
    expiry_ms: int,
    share: float,
    said: Sequence[dict[str, Any]],
    asks: Sequence[Ask],
    *,
    express: bool = False,
) -> bytes:
    """The argument of the script, and what is in it.

    `scopes`: declared limits (0: none), whether it `adapts`, the holder's own calls in flight
    (`mine`), permits and tokens to put back, answers since the last time, their
    milliseconds, 429s, and what the provider's headers `told` and said is `left` (requests, tokens,
    input, output; 0 and -1: nothing). `asks`: pairs of input and output tokens.
    """
    return msgspec.json.encode(
        {
            "holder": holder,
            "expiry": expiry_ms,
            "share": share,
            "express": express,
            "scopes": said,
            "asks": [(ask.input, ask.output) for ask in asks],
        }
    )
