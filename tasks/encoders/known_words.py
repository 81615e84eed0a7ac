"""The parts of words that were met before, in flat arrays.

Splitting a word into its parts takes a hundred times as long as finding it again, and a text's
words find theirs without a Python object for each part.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

LONGEST_WORD: Final = 256  # characters that are looked at


class KnownWords:
    """Several threads may ask at once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._places = _Places()
        self._parts = np.zeros(0, np.int32)
        self._ends = np.zeros(1, np.int64)  # those of the word at place n: from [n] to [n + 1]

    def __len__(self) -> int:
        return len(self._places)

    def parts(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The parts of the texts' words end to end, and the ends[n + 1] between which each text's
        are."""
        ends = [0]

        def words() -> Iterator[list[str]]:
            # One text's at a time: those of all would not fit the processor's cache.
            for text in texts:
                said = text.split()
                ends.append(ends[-1] + len(said))
                yield said

        found = map(self._places.__getitem__, chain.from_iterable(words()))
        places = np.fromiter(found, np.int32)
        parts, begins = self._learned()
        first, lengths = begins[places], begins[places + 1] - begins[places]
        behind = np.concatenate(([0], np.cumsum(lengths)))
        at = np.repeat(first - behind[:-1], lengths) + np.arange(behind[-1])
        return parts[at], behind[ends]

    def _learned(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Parts and ends of all words that have a place."""
        with self._places.lock:
            new = self._places.new
            if new:
                told = self._tokenizer.encode_batch_fast(
                    [_readable(word[:LONGEST_WORD]) for word in new], add_special_tokens=False
                )
                ids = [one.ids for one in told]
                ends = self._ends[-1] + np.cumsum([*map(len, ids)])
                parts = np.array([*chain.from_iterable(ids)], np.int32)
                self._parts = np.concatenate((self._parts, parts))
                self._ends = np.concatenate((self._ends, ends))
                self._places.new = []
            return self._parts, self._ends


def _readable(word: str) -> str:
    """Without halves of characters, which no tokenizer takes."""
    return word.encode("utf-8", "replace").decode()


class _Places(dict[str, int]):
    """A place for every word that is asked for, in the order of the asking."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()
        self.new: list[str] = []
        """Those that nobody has split yet."""

    def __missing__(self, word: str) -> int:
        with self.lock:
            place = self.get(word)  # of another thread, since
            if place is None:
                place = self[word] = len(self)
                self.new.append(word)
            return place
