"""How far a long transfer is, on one line of a terminal.

By hand, because a progress bar of a library costs more memory than the transfer itself.
"""

import sys
import time

EVERY_S = 0.2


class Progress:
    """Says on stderr how many lines have gone, of about how many; nothing without a terminal."""

    def __init__(self, what: str, about: int | None) -> None:
        self.lines = 0
        self._what = what
        self._about = about
        self._began = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def __call__(self, lines: int) -> None:
        """So many lines by now."""
        self.lines = lines
        now = time.monotonic()
        if self._terminal and now - self._shown >= EVERY_S:
            self._shown = now
            self._write(self._line(now))

    def clear(self) -> None:
        """Leaves the line as it was before."""
        if self._width:
            self._write("")
            sys.stderr.write("\r")

    def _line(self, now: float) -> str:
        rate = self.lines / max(now - self._began, 1e-9)
        of = ""
        if self._about:
            of = f" of about {self._about:,} ({min(99, self.lines * 100 // self._about)} %)"
        return f"{self._what} {self.lines:,}{of}, {rate:,.0f} a second"

    def _write(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)
