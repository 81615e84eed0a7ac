"""Texts as counted features, by arithmetic on arrays: no token is ever a Python object.

All texts are laid end to end as one array of code points. A word, two words in a row, and
every run of 3 to 5 characters are hashed by multiply-and-add over 64 bits; the upper bits
name a bucket. About 0.02 ms for a prompt of 1,000 characters, more than an order of magnitude
less than building the same n-grams as strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

BITS: Final = 20
BUCKETS: Final = 1 << BITS
MOST_CHARACTERS: Final = 16_000  # of a text: its first and its last half are looked at

Hashes: TypeAlias = NDArray[np.uint64]
Ints: TypeAlias = NDArray[np.int64]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_RUNS = (3, 4, 5)
_BEHIND = max(_RUNS)  # marks, so that a run may begin at any character
_LONGEST_WORD = 64  # a power of two

with np.errstate(over="ignore"):
    _POWERS: Final = np.multiply.accumulate(np.full(_LONGEST_WORD, _ODD, np.uint64))


NOWHERE: Final = -1


@dataclass(frozen=True, slots=True)
class Grams:
    """The buckets of texts, text by text and in each in no order, one for each time it occurs.

    `bucket` int64[k] (as arrays are indexed by), where `NOWHERE` stands for none; text n's begin at
    `ends`[n], int64[n + 1], and end at the next.
    """

    bucket: Ints
    ends: Ints


@dataclass(frozen=True, slots=True)
class _Laid:
    """Texts end to end, a mark before each and some behind the last: code points, a hash of each,
    and where the marks are, int64[n + 1]."""

    codes: NDArray[np.uint32]
    mixed: Hashes
    marks: Ints


def grams(texts: Sequence[str]) -> tuple[Grams, Grams]:
    """The words and pairs of words of each text, and its runs of characters."""
    laid = _lay(texts)
    return _words(laid), _runs(laid)


def _lay(texts: Sequence[str]) -> _Laid:
    joined = "\0".join(["", *map(_looked_at, texts)]) + "\0" * _BEHIND
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    blank = (codes == 32) | ((codes > 8) & (codes < 14)) | (codes == 0xA0)
    keep = np.ones(codes.size, np.bool_)
    np.logical_and(blank[1:], blank[:-1], out=keep[1:])
    np.logical_not(keep[1:], out=keep[1:])
    codes = np.where(blank, np.uint32(32), codes)[keep]
    mixed = codes.astype(np.uint64)
    mixed *= _ODD
    mixed ^= mixed >> np.uint64(31)
    mixed *= _MIX
    return _Laid(codes, mixed, np.flatnonzero(codes == 0)[: len(texts) + 1])


def _looked_at(text: str) -> str:
    return ends(text, MOST_CHARACTERS).lower().replace("\0", " ")


def ends(text: str, most: int) -> str:
    """The text; of one of more than `most` characters the first and the last half of these."""
    if len(text) <= most:
        return text
    return text[: most // 2] + " " + text[-(most // 2) :]


def _words(laid: _Laid) -> Grams:
    """A word is letters, digits and `_`, or anything beyond ASCII."""
    codes = laid.codes
    inside = (codes >= 97) & (codes <= 122)
    inside |= (codes >= 48) & (codes <= 57)
    inside |= (codes == 95) | (codes >= 128)
    at = np.flatnonzero(inside)
    if not at.size:
        return Grams(np.empty(0, np.int64), np.zeros_like(laid.marks))
    begins = np.flatnonzero(np.diff(at, prepend=-1) != 1)
    lengths = np.diff(begins, append=at.size)
    place = np.arange(at.size) - np.repeat(begins, lengths)
    place &= _LONGEST_WORD - 1
    hashes = laid.mixed[at]
    hashes *= _POWERS[place]
    word: Hashes = np.add.reduceat(hashes, begins)
    ends = np.searchsorted(at[begins], laid.marks)
    found = np.full((word.size, 2), NOWHERE)
    found[:, 0] = _bucket(word)
    found[:-1, 1] = _bucket(word[:-1] * _MIX + word[1:] * _ODD)
    found[ends[1:] - 1, 1] = NOWHERE
    return Grams(found.reshape(-1), ends * 2)


def _runs(laid: _Laid) -> Grams:
    """Runs of characters; the mark before a text's first character counts as one.

    Each length's hashes are made of those of one less: the sum over k < length of
    mixed[k] ODD^(k + 1), as ODD (mixed[0] + the same of the run behind it), times ODD^length.
    What would run across a mark is nowhere: leaving it out would copy all of the rest.
    """
    size = laid.marks[-1]
    found = np.empty((size, len(_RUNS)), np.int64)
    summed = laid.mixed * _ODD
    for length in range(2, max(_RUNS) + 1):
        summed = laid.mixed[: summed.size - 1] + summed[1:]
        summed *= _ODD
        if length in _RUNS:
            found[:, _RUNS.index(length)] = _bucket(summed[:size] * _POWERS[length - 1])
    for column, length in enumerate(_RUNS):
        for before in range(1, length):
            found[np.maximum(laid.marks[1:] - before, 0), column] = NOWHERE
    return Grams(found.reshape(-1), laid.marks * len(_RUNS))


def _bucket(hashed: Hashes) -> Ints:
    mixed = hashed >> np.uint64(29)
    mixed ^= hashed
    mixed *= _MIX
    mixed >>= np.uint64(64 - BITS)
    return mixed.view(np.int64)
