"""A backlog: what a track has claimed of requests that wait for the same limits.

Those of a project with limits of its own have one to themselves. So what waits at a gate for its
permits takes no part of the window in which all others are sent.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice, takewhile
from typing import Final

from core.work import Entry, LeasedChunk

WINDOW: Final = 64
FIRST_WINDOW: Final = 16
LEAST_WINDOW: Final = 8
MEASURE: Final = 0.5


class Backlog:
    """Entries in the order of their turns, and how many more were intended and wait at a gate."""

    def __init__(self, now: float) -> None:
        """`now` in seconds of any clock; `take` asks for the same one."""
        self.waiting = 0
        self._entries: deque[Entry] = deque()
        self._window = FIRST_WINDOW
        self._latest = 0.0
        self._sent = 0
        self._measured = now

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def turn(self) -> float:
        """That of its first entry."""
        return self._entries[0].chunk.turn

    @property
    def pace(self) -> int:
        """How many are sent in about two seconds, `WINDOW` at full pace."""
        return self._window

    @property
    def soon(self) -> int:
        """How many of its entries may be sent before long: about two seconds' worth, or all of
        them at full pace."""
        if self._window == WINDOW:
            return len(self._entries)
        return min(len(self._entries), self._window)

    @property
    def able(self) -> bool:
        """Whether something that comes now and has an earlier turn could be intended."""
        return self.waiting <= WINDOW - LEAST_WINDOW

    def line_up(self, entries: list[Entry]) -> None:
        """Adds them; whose turn comes earlier goes before what was claimed ahead."""
        earlier = self._entries and entries and entries[0].chunk.turn < self._entries[-1].chunk.turn
        self._entries.extend(entries)
        if earlier:
            self._entries = deque(sorted(self._entries, key=lambda entry: entry.chunk.turn))

    def room(self) -> int:
        """How many may be intended now. What has an earlier turn than what waits at a gate need
        not wait for that."""
        if not self._entries:
            return 0
        if self.waiting <= self._window // 2:
            return self._window - self.waiting
        earlier = takewhile(lambda entry: entry.chunk.turn < self._latest, self._entries)
        return sum(1 for _ in islice(earlier, WINDOW - self.waiting))

    def take(self, room: int, now: float) -> list[Entry]:
        """The first so many entries, to be intended."""
        self._measure(now)
        return [self._entries.popleft() for _ in range(min(room, len(self._entries)))]

    def _measure(self, now: float) -> None:
        """A window is no larger than what is sent in about two seconds: the less is intended, the
        sooner goes what has an earlier turn, and the less is in doubt when the process dies."""
        if now - self._measured >= MEASURE:
            pace = self._sent / (now - self._measured)
            self._window = max(LEAST_WINDOW, min(WINDOW, round(2 * pace)))
            self._measured, self._sent = now, 0

    def put(self, entries: list[Entry]) -> None:
        """These wait at a gate now."""
        self.waiting += len(entries)
        self._latest = max(self._latest, entries[-1].chunk.turn)

    def went(self) -> bool:
        """One of those that wait is being called. Whether the next window may be opened."""
        self.waiting -= 1
        self._sent += 1
        return self.waiting <= self._window // 2

    def drop(self, which: Callable[[LeasedChunk], bool]) -> list[LeasedChunk]:
        """Forgets the entries of these chunks; the chunks that it had entries of."""
        dropped = dict.fromkeys(entry.chunk for entry in self._entries if which(entry.chunk))
        if dropped:
            self._entries = deque(entry for entry in self._entries if entry.chunk not in dropped)
        return [*dropped]
