"""What a model of intents is fitted to, and what its heads say of prompts they have not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from routing.models.encoder import Encoder, looked_at
from routing.models.features import Featurizer
from routing.models.state import Array
from routing.training.examples import Examples, IntentData
from routing.training.heads import Heads, Rows, Told, crossed

WEIGHTS: Final = {"words": 1.0, "runs": 1.5, "shape": 0.0}
LEAST: Final = 2  # examples of an intent
LEAST_OUTSIDE: Final = 8  # prompts out of scope, to learn from them


@dataclass(frozen=True, slots=True)
class Reader:
    """Texts as what the classifiers see of them."""

    featurizer: Featurizer
    encoder: Encoder | None

    def rows(self, texts: Sequence[str]) -> Rows:
        texts = looked_at(texts)
        words = self.featurizer.matrix(texts, [{}] * len(texts))
        return Rows(words, None if self.encoder is None else self.encoder.encode(texts))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned from. In `rows` are the train part's prompts, the names and descriptions of
    the intents, and prompts of strangers, in this order; `places` int[n] are the intents' among
    `names`, the one behind them all the strangers'."""

    data: IntentData
    names: tuple[str, ...]
    reader: Reader
    rows: Rows
    places: Array

    @property
    def own(self) -> Array:
        """The rows of the train part's prompts."""
        return np.arange(len(self.data.train))

    @property
    def strangers(self) -> Array:
        """The rows of strangers; none where there are too few to learn from."""
        return np.flatnonzero(self.places == len(self.names))

    @property
    def held(self) -> Examples:
        """Prompts that are held back."""
        return self.data.calibration or Examples((), ())


@dataclass(frozen=True, slots=True)
class Unseen:
    """What is told of prompts by heads that have not seen them: of those with an intent (`truth`
    int[n]), and of strangers."""

    told: Told
    truth: Array
    outside: Told


def lesson_of(data: IntentData, encoder: Encoder | None) -> Lesson:
    """Raises ValueError where there are fewer than two intents, or too few examples of one."""
    names = tuple(sorted(set(data.train.labels)))
    _check(names, data)
    texts, labels = _with_names(data, names)
    featurizer = Featurizer.fit(looked_at(texts), [{}] * len(texts), (), WEIGHTS, most=1 << 16)
    reader = Reader(featurizer, encoder)
    outside = data.train.outside if len(data.train.outside) >= LEAST_OUTSIDE else ()
    places = [*map(names.index, labels), *[len(names)] * len(outside)]
    return Lesson(data, names, reader, reader.rows([*texts, *outside]), np.array(places))


def _check(names: tuple[str, ...], data: IntentData) -> None:
    if len(names) < 2:
        raise ValueError(f"{len(names)} intents, where two are the least")
    counts = dict.fromkeys(names, 0)
    for label in data.train.labels:
        counts[label] += 1
    few = [name for name, count in counts.items() if count < LEAST]
    if few:
        raise ValueError(f"fewer than {LEAST} examples of {', '.join(few[:5])}")


def _with_names(data: IntentData, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The examples, and for each intent one more: its name and its description."""
    said = data.file.intents if data.file else {}
    told = [
        f"{name.replace('_', ' ')} {said[name].description if name in said else ''}".strip()
        for name in names
    ]
    return [*data.train.texts, *told], [*data.train.labels, *names]


def unseen(lesson: Lesson, heads: Heads, seed: int) -> Unseen:
    """What is held back is asked of the heads as they are; what is not, by crossing over."""
    held, none = lesson.held, np.zeros(0, np.int64)
    own = none if len(held) else lesson.own
    strangers = none if held.outside else lesson.strangers
    tested = np.concatenate([own, strangers])
    crossing = (
        crossed(lesson.rows, lesson.places, len(lesson.names), tested, seed)
        if tested.size
        else heads.tell(lesson.rows.take(tested))
    )
    told, truth = crossing.take(np.arange(own.size)), lesson.places[own]
    if len(held):
        told, truth = _held_back(lesson, heads)
    outside = crossing.take(np.arange(own.size, tested.size))
    if not strangers.size:
        outside = _of_strangers(lesson, heads)
    return Unseen(told, truth, outside)


def _held_back(lesson: Lesson, heads: Heads) -> tuple[Told, Array]:
    """Of the prompts of known intents, and which these are."""
    held, place = lesson.held, {name: at for at, name in enumerate(lesson.names)}
    known = [row for row, label in enumerate(held.labels) if label in place]
    truth = np.array([place[held.labels[row]] for row in known])
    return heads.tell(lesson.reader.rows([held.texts[row] for row in known])), truth


def _of_strangers(lesson: Lesson, heads: Heads) -> Told:
    """Of those that nothing was learned from."""
    learned = lesson.strangers.size > 0
    others = [*([] if learned else lesson.data.train.outside), *lesson.held.outside]
    return heads.tell(lesson.reader.rows(others))
