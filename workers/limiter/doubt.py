"""Whether a 429 is a line's limit, or a stray one that other calls contradict.

The pause that a 429 names holds for everyone at once, and is on trial: single calls, the probes, go
all the same (`limiter.lua` says when). Where one of them is answered, or many calls that were sent
after the refused one are, nearly all, the provider was not at our limit: the pause is over, and as
long as that goes on, the next 429s stop their own requests only. So do they while the limiter's
server has found that fewer calls bring no fewer 429s. Sixteen in a row, or a quarter of the calls,
and everybody waits again.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

ENOUGH = 16
"""Answers that contradict a pause, where none was a probe's."""
STRAY = 0.25
"""Share of 429s from which on they are no strays."""
IN_A_ROW = 16
"""429s with no answer between them, which are no strays either: of calls that were sent together,
refusals come back before answers."""
CALM = 60.0
"""Seconds without a 429 after which the next one is news."""
MEAN_OF = 128
PROBE_PATIENCE = 30.0
"""Seconds for which a probe's answer counts."""
ROUNDED = 0.001
"""Seconds by which what is known of a call's beginning may be wrong."""


class Refusal(StrEnum):
    """What a 429 is taken for; the values are `pause.lua`'s."""

    STRAY = "stray"
    DOUBT = "doubt"
    LIMIT = "limit"
    DENIED = "denied"


@dataclass(slots=True)
class Doubt:
    """What one process has seen of one line. Times are its own monotonic clock, in seconds;
    `began` is when a call was sent."""

    since: float | None = None
    until: float = 0.0
    probe_at: float = math.inf
    probe_until: float = 0.0
    answers: int = 0
    refusals: int = 0
    in_a_row: int = 0
    share: float = 0.0
    believed_until: float = 0.0

    def strays(self, now: float) -> bool:
        """Whether 429s are taken for strays."""
        return now < self.believed_until

    def believe(self, now: float) -> None:
        """Fewer calls have brought no fewer 429s, or a probe an answer, says the server."""
        self.believed_until = now + CALM

    def probes(self, now: float) -> None:
        """A probe of this process is about to go."""
        if now >= self.probe_until:
            self.probe_at = math.inf
        self.probe_at = min(self.probe_at, now - ROUNDED)
        self.probe_until = now + PROBE_PATIENCE

    def _is_probe(self, began: float, now: float) -> bool:
        return began >= self.probe_at and now < self.probe_until

    def refused(self, began: float, now: float, seconds: float) -> Refusal:
        """A 429 came that names a pause of so many seconds."""
        self.in_a_row += 1
        self.share += (1 - self.share) / MEAN_OF
        if self.since is not None and began > self.since:
            self.refusals += 1
        believed = self.strays(now)
        if believed and self.in_a_row < IN_A_ROW and self.share < STRAY:
            self.believed_until = now + CALM
            return Refusal.STRAY
        self.believed_until = 0.0
        if self.since is None or now >= self.until:
            self.since, self.answers, self.refusals = began, 0, 0
        self.until = max(self.until, now + seconds)
        if self._is_probe(began, now):
            return Refusal.DENIED
        return Refusal.LIMIT if believed else Refusal.DOUBT

    def answered(self, began: float, now: float) -> bool:
        """An answer came; whether it was the one too many for the pause that stands."""
        self.in_a_row = 0
        self.share -= self.share / MEAN_OF
        if self._is_probe(began, now):
            self.since, self.probe_at = None, math.inf
            return True
        if self.since is None or not self.since < began < self.until:
            return False
        self.answers += 1
        if self.answers < ENOUGH:
            return False
        contradicted = self.refusals < STRAY * (self.answers + self.refusals)
        self.since = None
        if contradicted:
            self.believed_until = now + CALM
        return contradicted
