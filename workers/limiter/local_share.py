"""What a process grants by itself while the limiter's server is away: its share of the rates
and calls at once that were in force at the last sight of it, among the processes that were
alive then. In sum that is never more than the whole."""

import math
import time
from collections.abc import Sequence

from core.ports import Ask
from workers.limiter.books import Book, Word

SPAN = 1.0
LEAST_WAIT = 0.05


class LocalShare:
    """Buckets of one scope, empty at first. Times are this process' own clock."""

    def __init__(self, book: Book, word: Word, now: float) -> None:
        self._book = book
        self._rates = [rate / 60 / word.holders for rate in word.rates]
        self._levels = [0.0] * len(self._rates)
        self._at = now
        whole = word.in_flight / word.holders
        # What nobody declared was learnt, and may be exceeded by one call.
        least = 1 if book.buckets.in_flight is None else 0
        self._in_flight = max(least, math.floor(whole)) if word.in_flight else None

    def _holds(self, dimension: int) -> float:
        most = self._rates[dimension] * SPAN
        return max(1.0, most) if dimension == 0 else most

    def refill(self, now: float) -> None:
        """Brings the buckets up to the time; what came back since counts too."""
        seconds, self._at = max(0.0, now - self._at), now
        book = self._book
        back_input, back_output = book.back_input, book.back_output
        back = (book.back_requests, back_input + back_output, back_input, back_output)
        book.back_requests = book.back_input = book.back_output = 0
        for d, rate in enumerate(self._rates):
            self._levels[d] = min(self._holds(d), self._levels[d] + rate * seconds + back[d])

    def wait(self, needs: Sequence[int]) -> float:
        """Seconds until the call may go; 0 is now."""
        wait = 0.0
        for d, rate in enumerate(self._rates):
            enough = min(needs[d], self._holds(d) / (1 if d == 0 else 2))
            if rate and self._levels[d] < enough:
                wait = max(wait, (enough - self._levels[d]) / rate)
        return wait

    @property
    def full(self) -> bool:
        return self._in_flight is not None and self._book.flying >= self._in_flight

    def take(self, needs: Sequence[int]) -> None:
        """One call more."""
        self._book.flying += 1
        for d, need in enumerate(needs):
            self._levels[d] -= need

    def settle(self) -> None:
        """The server is back, and takes its buckets for full: what is missing here is missing
        there."""
        requests, tokens, incoming, outgoing = (
            round(level - self._holds(d)) if self._rates[d] else 0
            for d, level in enumerate(self._levels)
        )
        apart = self._rates[2] or self._rates[3]
        self._book.back_requests += requests
        self._book.back_input += incoming if apart else tokens
        self._book.back_output += outgoing
        self._book.changed = True


def grant_locally(shares: Sequence[LocalShare], asks: Sequence[Ask]) -> tuple[int, float, bool]:
    """How many of the calls may go, after how many seconds to ask again, and whether only the
    end of calls can help. A call takes from the buckets of all scopes or of none."""
    now = time.monotonic()
    for share in shares:
        share.refill(now)
    for granted, ask in enumerate(asks):
        needs = (1, ask.input + ask.output, ask.input, ask.output)
        if any(share.full for share in shares):
            return granted, LEAST_WAIT, True
        wait = max(share.wait(needs) for share in shares)
        if wait > 0:
            return granted, max(wait, LEAST_WAIT), False
        for share in shares:
            share.take(needs)
    return len(asks), 0.0, False
