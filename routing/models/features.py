"""What a model sees of a prompt: words, runs of characters, shape, tags, perhaps a vector.

A `Featurizer` is fitted on the prompts of the training data and turns any others into the rows
of one sparse matrix. Its columns come in blocks, each weighted on its own: words, runs, vectors,
shape, and one block of tags for each metadata column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy import sparse

from routing.models.encoder import Encoder, Vectors
from routing.models.hashing import BUCKETS, NOWHERE, Grams, Ints, grams
from routing.models.shape import shapes
from routing.models.state import Array, Floats, State

AT_ONCE: Final = 1 << 17  # characters whose arrays fit the processor's cache
UNKNOWN: Final = ""  # the tag of a prompt without one


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The buckets that training has met often enough, and how telling each is.

    `bucket` int32[v], ascending; `weight` float32[v]: ln((1 + n) / (1 + df)) + 1.
    """

    bucket: Array
    weight: Floats
    _column: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Narrow numbers are sorted faster. The last one is for what is nowhere itself.
        kind = np.int16 if self.bucket.size <= np.iinfo(np.int16).max else np.int32
        column = np.full(BUCKETS + 1, NOWHERE, kind)
        column[self.bucket] = np.arange(self.bucket.size)
        object.__setattr__(self, "_column", column)

    @classmethod
    def of(cls, counted: sparse.csr_matrix, least: int, most: int) -> "Vocabulary":
        """The buckets that `least` texts have, at most `most` of them: those of most texts."""
        texts = np.bincount(counted.indices, minlength=BUCKETS)
        kept = np.flatnonzero(texts >= least)
        if kept.size > most:
            kept = np.sort(kept[np.argsort(-texts[kept], kind="stable")[:most]])
        weight = np.log((1 + counted.shape[0]) / (1 + texts[kept])) + 1
        return cls(kept.astype(np.int32), weight.astype(np.float32))

    def rows(self, found: Grams) -> sparse.csr_matrix:
        """float32[n, v]: (1 + ln count) × weight, each row of length 1."""
        counted = count(self._column.take(found.bucket), found.ends, self.bucket.size)
        data = 1 + np.log(counted.data)
        data *= self.weight.take(counted.indices)
        lengths = np.diff(counted.indptr)
        filled = np.flatnonzero(lengths)
        squares = np.add.reduceat(data * data, counted.indptr[filled]) if filled.size else data
        counted.data = (data / np.repeat(np.sqrt(squares), lengths[filled])).astype(np.float32)
        return counted


def count(places: Array, ends: Ints, columns: int) -> sparse.csr_matrix:
    """float32[n, columns]: how often each text has each; places below zero are left out.

    `places` int[k] are sorted text by text, where they are; `ends` are as in `Grams`.
    """
    for begin, end in pairwise(ends.tolist()):
        places[begin:end].sort()
    first = np.ones(places.size, np.bool_)
    np.not_equal(places[1:], places[:-1], out=first[1:])
    first[ends[:-1][ends[:-1] < places.size]] = True
    at = np.flatnonzero(first)
    counts = np.diff(at, append=places.size)
    found = places[at]
    inside = np.flatnonzero(found >= 0)
    parts = counts[inside].astype(np.float32), found[inside].astype(np.int32)
    return sparse.csr_matrix(
        (*parts, np.searchsorted(at[inside], ends)), shape=(ends.size - 1, columns)
    )


@dataclass(frozen=True, slots=True)
class Featurizer:
    """From prompts and their metadata to rows of features.

    `columns` are the metadata columns, `tags` the values known of each. `middle` and `spread`
    are the mean and the standard deviation of the shape's columns in training. `weights` are
    those of the blocks. `vectors` are there where an encoder is.
    """

    words: Vocabulary
    runs: Vocabulary
    middle: Floats
    spread: Floats
    columns: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    weights: Mapping[str, float]
    vectors: Vectors | None = None

    @classmethod
    def fit(
        cls,
        prompts: Sequence[str],
        metadata: Sequence[Mapping[str, str]],
        columns: Sequence[str],
        weights: Mapping[str, float],
        most: int = 1 << 17,
        encoder: Encoder | None = None,
    ) -> "Featurizer":
        """Learns from the training data which features there are; `most` of each kind."""
        counted = zip(*(_counted(prompts[place]) for place in _parts(prompts)), strict=True)
        least = 2 if len(prompts) >= 50 else 1
        words, runs = (
            Vocabulary.of(sparse.vstack(parts, format="csr"), least, most) for parts in counted
        )
        shape = shapes(prompts)
        spread = shape.std(axis=0)
        return cls(
            words=words,
            runs=runs,
            middle=shape.mean(axis=0),
            spread=np.where(spread > 1e-6, spread, 1).astype(np.float32),
            columns=tuple(columns),
            tags=tuple(
                tuple(sorted({row.get(column, UNKNOWN) for row in metadata} - {UNKNOWN}))
                for column in columns
            ),
            weights=dict(weights),
            vectors=Vectors.fit(encoder, prompts) if encoder else None,
        )

    def without_vectors(self, rows: sparse.csr_matrix) -> tuple[sparse.csr_matrix, "Featurizer"]:
        """Rows without the columns of vectors, and what makes them so."""
        start = self.words.bucket.size + self.runs.bucket.size
        kept = [rows[:, :start], rows[:, start + self.sizes["vectors"] :]]
        return sparse.hstack(kept, format="csr"), replace(self, vectors=None)

    def using(self, encoder: Encoder) -> "Featurizer":
        """With its encoder at work, where it has one."""
        return replace(self, vectors=self.vectors and self.vectors.using(encoder))

    @property
    def width(self) -> int:
        """How many columns a row has."""
        return sum(self.sizes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """How many columns each block has, in their order."""
        return {
            "words": self.words.bucket.size,
            "runs": self.runs.bucket.size,
            "vectors": self.vectors.spec.width if self.vectors else 0,
            "shape": self.middle.size,
            "tags": sum(len(known) for known in self.tags),
        }

    @property
    def text(self) -> int:
        """How many columns are of the text itself: those before shape and tags."""
        return self.width - self.sizes["shape"] - self.sizes["tags"]

    def rows(
        self, prompts: Sequence[str], metadata: Sequence[Mapping[str, str]]
    ) -> Iterator[sparse.csr_matrix]:
        """float32[k, width] for each k prompts in order, of about `AT_ONCE` characters together."""
        known = [{tag: place for place, tag in enumerate(tags)} for tags in self.tags]
        for place in _parts(prompts):
            part, tagged = prompts[place], metadata[place]
            words, runs = grams(part)
            blocks = [
                self.words.rows(words) * self._weight("words"),
                self.runs.rows(runs) * self._weight("runs"),
                *self._vector_rows(part),
                self._shape_rows(part),
            ]
            for column, places in zip(self.columns, known, strict=True):
                at = [places.get(row.get(column, UNKNOWN), -1) for row in tagged]
                blocks.append(_one_of(at, len(places)) * self._weight("tags"))
            yield sparse.hstack(blocks, format="csr", dtype=np.float32)

    def matrix(
        self, prompts: Sequence[str], metadata: Sequence[Mapping[str, str]]
    ) -> sparse.csr_matrix:
        """float32[n, width]."""
        parts = list(self.rows(prompts, metadata))
        if not parts:
            return sparse.csr_matrix((0, self.width), dtype=np.float32)
        return sparse.vstack(parts, format="csr")

    def shape(self, prompts: Sequence[str]) -> Floats:
        """float32[n, s]: length and make-up, in standard deviations from the mean."""
        scaled = np.clip((shapes(prompts) - self.middle) / self.spread, -4, 4)
        return np.asarray(scaled, np.float32)

    def _vector_rows(self, prompts: Sequence[str]) -> Iterator[sparse.csr_matrix]:
        if self.vectors is not None:
            yield sparse.csr_matrix(self.vectors.rows(prompts) * self._weight("vectors"))

    def _shape_rows(self, prompts: Sequence[str]) -> sparse.csr_matrix:
        weight = self._weight("shape")
        if not weight:
            return sparse.csr_matrix((len(prompts), self.middle.size), dtype=np.float32)
        return sparse.csr_matrix(self.shape(prompts) * weight)

    def state(self) -> State:
        """For the model file."""
        fields: dict[str, Any] = {
            "columns": list(self.columns),
            "tags": [list(known) for known in self.tags],
            "weights": dict(self.weights),
        }
        arrays = {
            "words.bucket": self.words.bucket,
            "words.weight": self.words.weight,
            "runs.bucket": self.runs.bucket,
            "runs.weight": self.runs.weight,
            "middle": self.middle,
            "spread": self.spread,
        }
        own = State(fields, arrays)
        return own.with_part("vectors", self.vectors.state()) if self.vectors else own

    @classmethod
    def from_state(cls, state: State) -> "Featurizer":
        """The featurizer that gave this state."""
        fields, arrays = state.fields, state.arrays
        return cls(
            words=Vocabulary(arrays["words.bucket"], arrays["words.weight"]),
            runs=Vocabulary(arrays["runs.bucket"], arrays["runs.weight"]),
            middle=arrays["middle"],
            spread=arrays["spread"],
            columns=tuple(fields["columns"]),
            tags=tuple(tuple(known) for known in fields["tags"]),
            weights=fields["weights"],
            vectors=Vectors.from_state(state.part("vectors")) if "vectors" in fields else None,
        )

    def _weight(self, block: str) -> np.float32:
        return np.float32(self.weights.get(block, 1.0))


def _parts(prompts: Sequence[str]) -> Iterator[slice]:
    """Which prompts are looked at together."""
    behind = np.cumsum([0, *map(len, prompts)]) // AT_ONCE
    ends = np.flatnonzero(np.diff(behind)) + 1
    for begin, end in pairwise([0, *ends.tolist(), len(prompts)]):
        if begin < end:
            yield slice(begin, end)


def _counted(prompts: Sequence[str]) -> list[sparse.csr_matrix]:
    """How often each bucket of words is in each prompt, and each of runs."""
    return [count(found.bucket.astype(np.int32), found.ends, BUCKETS) for found in grams(prompts)]


def _one_of(places: Sequence[int], columns: int) -> sparse.csr_matrix:
    """float32[n, columns]: a one at each row's place; none below zero."""
    at = np.array(places, np.int64)
    rows = np.flatnonzero(at >= 0)
    ones = np.ones(rows.size, np.float32)
    return sparse.csr_matrix((ones, (rows, at[rows])), shape=(len(places), columns))
