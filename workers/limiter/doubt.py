"""Whether a 429 is a line's limit, or a stray one that other calls contradict.

The pause that a 429 names holds for everyone at once. Where calls that were sent after the refused
one are answered all the same, nearly all and many of them, the provider was not at our limit:
the pause is over, and as long as that goes on, the next 429s stop their own requests only. So do
they while the limiter's server has found that fewer calls bring no fewer 429s. Sixteen in a row,
or a quarter of the calls, and everybody waits again.
"""

from dataclasses import dataclass

ENOUGH = 16
"""Answers that contradict a pause."""
STRAY = 0.25
"""Share of 429s from which on they are no strays."""
IN_A_ROW = 16
"""429s with no answer between them, which are no strays either: of calls that were sent together,
refusals come back before answers."""
CALM = 10.0
"""Seconds without a 429 after which the next one is news."""
MEAN_OF = 128


@dataclass(slots=True)
class Doubt:
    """What one process has seen of one line. Times are its own monotonic clock, in seconds;
    `began` is when a call was sent."""

    since: float | None = None
    until: float = 0.0
    answers: int = 0
    refusals: int = 0
    in_a_row: int = 0
    share: float = 0.0
    believed_until: float = 0.0

    def strays(self, now: float) -> bool:
        """Whether 429s are taken for strays."""
        return now < self.believed_until

    def believe(self, now: float) -> None:
        """Fewer calls have brought no fewer 429s, says the server."""
        self.believed_until = now + CALM

    def refused(self, began: float, now: float, seconds: float) -> bool:
        """A 429 came that names a pause of so many seconds; whether it is everyone's."""
        self.in_a_row += 1
        self.share += (1 - self.share) / MEAN_OF
        if self.since is not None and began > self.since:
            self.refusals += 1
        if self.strays(now) and self.in_a_row < IN_A_ROW and self.share < STRAY:
            self.believed_until = now + CALM
            return False
        self.believed_until = 0.0
        if self.since is None or now >= self.until:
            self.since, self.answers, self.refusals = began, 0, 0
        self.until = max(self.until, now + seconds)
        return True

    def answered(self, began: float, now: float) -> bool:
        """An answer came; whether it was the one too many for the pause that stands."""
        self.in_a_row = 0
        self.share -= self.share / MEAN_OF
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
