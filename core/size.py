"""What of a request bounds its cost, whichever deployment it goes to."""

from typing import NamedTuple

UNBOUNDED = -1


class Size(NamedTuple):
    """A request in numbers, so that nobody has to read its body again.

    `tokens` it probably sends; `text_bytes` of its texts, UNBOUNDED where it refers to what
    nobody can count beforehand (remote files, server tools); `overhead` bounds the tokens that
    stand around the texts; `output` tokens may come back at most, over all its answers.
    """

    tokens: int
    text_bytes: int
    overhead: int
    output: int

    def input_bound(self, exact: bool) -> int | None:
        """More input tokens than a provider can bill; `exact` says that the model reads the
        tokens that were counted. None where nothing bounds the bill."""
        if self.text_bytes == UNBOUNDED:
            return None
        return (self.tokens if exact else self.text_bytes) + self.overhead
