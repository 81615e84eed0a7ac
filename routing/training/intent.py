"""Training what tells intents apart, on examples of each.

Linear classifiers (`routing/training/heads.py`) of words, pairs of words and runs of characters,
and of an encoder's vectors. What each weighs, probabilities, prediction sets and the threshold for
what is out of scope come from prompts that they have not seen: the calibration part of the data,
or else cross-validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from core.intents import IntentFile
from routing.models.encoder import Encoder, looked_at
from routing.models.features import Featurizer
from routing.models.intent import IntentModel, softmax
from routing.models.state import Array
from routing.training.heads import Heads, Rows, Told, crossed, weigh
from routing.training.one_thread import one_thread
from routing.training.out_of_scope import LOST, Seen, figures, threshold

WEIGHTS: Final = {"words": 1.0, "runs": 1.5, "shape": 0.0}
LEAST: Final = 2  # examples of an intent


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts with their intents, and texts that are none of them."""

    texts: Sequence[str]
    labels: Sequence[str]
    outside: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class IntentData:
    """`train` is learned from; `calibration` is held back for saying how sure a model is, and
    may be missing. `file` is what operators have said of the intents."""

    train: Examples
    calibration: Examples | None = None
    file: IntentFile | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Texts as what the classifiers see of them."""

    featurizer: Featurizer
    encoder: Encoder | None

    def rows(self, texts: Sequence[str]) -> Rows:
        texts = looked_at(texts)
        words = self.featurizer.matrix(texts, [{}] * len(texts))
        return Rows(words, None if self.encoder is None else self.encoder.encode(texts))


@one_thread
def train_intents(data: IntentData, encoder: Encoder | None = None, seed: int = 0) -> IntentModel:
    """A model of the intents in the data. Raises ValueError where there are fewer than two, or
    too few examples of one."""
    names = tuple(sorted(set(data.train.labels)))
    _check(names, data)
    texts, labels = _with_names(data, names)
    featurizer = Featurizer.fit(looked_at(texts), [{}] * len(texts), (), WEIGHTS, most=1 << 16)
    reader = _Reader(featurizer, encoder)
    rows = reader.rows(texts)
    places = np.array([names.index(label) for label in labels])
    heads = Heads.fit(rows, places, seed)
    held = data.calibration
    if held is not None and len(held):
        told, truth = _held_back(heads, names, reader, held)
        how = "held back"
    else:
        told, truth = crossed(rows, places, len(data.train), seed), places[: len(data.train)]
        how = "cross-validation"
    weights = weigh(told.margins, truth)
    learned = heads.blended(weights)
    strangers = [*data.train.outside, *(held.outside if held else ())]
    margins, strange = told.blended(weights)
    _, outside = heads.tell(reader.rows(strangers)).blended(weights)
    seen = Seen(margins.argmax(axis=1) == truth, strange, outside)
    beyond = threshold(seen)
    sure = softmax(margins)[np.arange(len(truth)), truth]
    return IntentModel(
        intents=names,
        featurizer=featurizer,
        slopes=learned.slopes,
        level=learned.level,
        temperature=1.0,  # is in the weights
        threshold=beyond,
        nonconformity=np.sort(1 - sure).astype(np.float32),
        file=data.file or IntentFile.model_validate({"intents": {name: {} for name in names}}),
        info={
            "intents": len(names),
            "examples": len(data.train),
            "calibrated_by": how,
            "calibration": len(truth),
            "out_of_scope": _outside_told(strangers),
            "encoder": encoder.spec.name if encoder else "none",
            "routes": sorted(_routes(data.file)),
            **{key: round(value, 4) for key, value in figures(seen, beyond).items()},
            **data.told,
        },
        spec=encoder.spec if encoder else None,
        pull=1.0,
        around=heads.around,
        encoder=encoder,
    )


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


def _held_back(
    heads: Heads, names: tuple[str, ...], reader: _Reader, held: Examples
) -> tuple[Told, Array]:
    """What the heads say of the prompts of known intents, and which these are."""
    place = {name: at for at, name in enumerate(names)}
    known = [row for row, label in enumerate(held.labels) if label in place]
    truth = np.array([place[held.labels[row]] for row in known])
    return heads.tell(reader.rows([held.texts[row] for row in known])), truth


def _outside_told(strange: Sequence[str]) -> str:
    if strange:
        return f"{len(strange)} examples"
    return f"none given: the strangest {LOST:.0%} of prompts are taken for it"


def _routes(file: IntentFile | None) -> set[str]:
    return {one.route for one in file.intents.values() if one.route} if file else set()
