"""Training what tells intents apart, on examples of each.

Words, pairs of words and runs of characters, and an encoder's vectors beside them, under one
linear support vector machine an intent. Probabilities, prediction sets and the threshold for what
is out of scope come from prompts that the classifier has not seen: the calibration part of the
data, or else cross-validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.svm import LinearSVC

from core.intents import IntentFile
from routing.models.encoder import Encoder, looked_at
from routing.models.features import Featurizer
from routing.models.intent import IntentModel, softmax
from routing.models.state import Array, Floats

WEIGHTS: Final = {"words": 1.0, "runs": 1.5, "shape": 0.0}
STRENGTH: Final = 0.7
FOLDS: Final = 4
LOST: Final = 0.05
MOST_LOST: Final = 0.2  # of prompts with an intent, whatever strangers it finds
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
    """Texts as what the classifier sees of them."""

    featurizer: Featurizer
    encoder: Encoder | None

    def rows(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """float32[n, width]: words and runs, then what the encoder says."""
        texts = looked_at(texts)
        rows = self.featurizer.matrix(texts, [{}] * len(texts))
        if self.encoder is None:
            return rows
        told = self.encoder.encode(texts) * np.float32(self.encoder.pull)
        return sparse.hstack([rows, sparse.csr_matrix(told)], format="csr")


@dataclass(frozen=True, slots=True)
class _Learned:
    names: tuple[str, ...]
    slopes: Floats
    level: Floats

    def margins(self, rows: sparse.csr_matrix) -> Floats:
        return np.asarray(rows @ self.slopes + self.level, np.float32)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Margins of prompts that the classifier was not trained on: float32[n, m] and int[n] of
    those with an intent, the highest margins float32[k] of those without one."""

    margins: Floats
    truth: Array
    outside: Floats


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
    learned = _learn(rows, places, names, seed)
    held = data.calibration
    if held is not None and len(held):
        margins, truth = _held_back(learned, reader, held)
        how = "held back"
    else:
        margins, truth = _crossed(rows, places, names, len(data.train), seed)
        how = "cross-validation"
    strange = [*data.train.outside, *(held.outside if held else ())]
    seen = _Seen(margins, truth, learned.margins(reader.rows(strange)).max(axis=1, initial=-np.inf))
    temperature = _temperature(seen)
    right = softmax(seen.margins / temperature)[np.arange(len(seen.truth)), seen.truth]
    threshold = _threshold(seen)
    return IntentModel(
        intents=names,
        featurizer=featurizer,
        slopes=learned.slopes,
        level=learned.level,
        temperature=temperature,
        threshold=threshold,
        nonconformity=np.sort(1 - right).astype(np.float32),
        file=data.file or IntentFile.model_validate({"intents": {name: {} for name in names}}),
        info={
            "intents": len(names),
            "examples": len(data.train),
            "calibrated_by": how,
            "calibration": len(seen.truth),
            "out_of_scope": _outside_told(strange),
            "encoder": encoder.spec.name if encoder else "none",
            "routes": sorted(_routes(data.file)),
            **{key: round(value, 4) for key, value in _figures(seen, threshold).items()},
            **data.told,
        },
        spec=encoder.spec if encoder else None,
        pull=encoder.pull if encoder else 0.0,
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


def _learn(rows: sparse.csr_matrix, places: Array, names: tuple[str, ...], seed: int) -> _Learned:
    """The margins' slopes; `places` are indices into `names`, each of which is among them."""
    machine = LinearSVC(C=STRENGTH, random_state=seed).fit(rows, places)
    slopes, level = machine.coef_.T, machine.intercept_
    if slopes.shape[1] == 1:  # of two intents, one margin is told
        slopes, level = np.hstack([-slopes, slopes]), np.concatenate([-level, level])
    return _Learned(names, slopes.astype(np.float32), level.astype(np.float32))


def _held_back(learned: _Learned, reader: _Reader, held: Examples) -> tuple[Floats, Array]:
    """Margins of the prompts of known intents, and which these are."""
    place = {name: at for at, name in enumerate(learned.names)}
    known = [row for row, label in enumerate(held.labels) if label in place]
    truth = np.array([place[held.labels[row]] for row in known])
    return learned.margins(reader.rows([held.texts[row] for row in known])), truth


def _crossed(
    rows: sparse.csr_matrix, places: Array, names: tuple[str, ...], own: int, seed: int
) -> tuple[Floats, Array]:
    """Margins of the first `own` rows, each by a classifier that was trained without its fold,
    and their intents."""
    fold_of = _even(places, np.random.default_rng(seed))
    margins = np.empty((own, len(names)), np.float32)
    for fold in range(FOLDS):
        others = fold_of != fold
        tested = np.flatnonzero(~others[:own])
        margins[tested] = _learn(rows[others], places[others], names, seed).margins(rows[tested])
    return margins, places[:own]


def _even(places: Array, drawn: np.random.Generator) -> Array:
    """A fold for each row, the rows of an intent spread over all of them."""
    folds = np.empty(len(places), np.int64)
    for place in np.unique(places):
        mine = drawn.permutation(np.flatnonzero(places == place))
        folds[mine] = (np.arange(mine.size) + drawn.integers(FOLDS)) % FOLDS
    return folds


def _temperature(seen: _Seen) -> float:
    """Under which the truth is the likeliest (Guo et al. 2017)."""
    at = np.arange(len(seen.truth))

    def surprise(log: float) -> float:
        right = softmax(seen.margins / np.float32(np.exp(log)))[at, seen.truth]
        return float(-np.log(np.maximum(right, 1e-9)).mean())

    return float(np.exp(minimize_scalar(surprise, bounds=(-5, 2), method="bounded").x))


def _threshold(seen: _Seen) -> float:
    """The strangeness beyond which a prompt is out of scope: where the share of prompts that are
    kept and rightly named and the share of strangers that are found have the highest sum, as far
    as it loses no more than MOST_LOST of the prompts with an intent.

    Where nobody has given strangers, it loses the share LOST of them.
    """
    if not seen.outside.size:
        return float(-np.quantile(seen.margins.max(axis=1), LOST))
    right = (seen.margins.argmax(axis=1) == seen.truth) / len(seen.truth)
    strangeness = -np.concatenate([seen.margins.max(axis=1), seen.outside])
    gain = np.concatenate([right, np.full(seen.outside.size, -1 / seen.outside.size)])
    order = np.argsort(strangeness, kind="stable")
    kept = np.cumsum(order < right.size) / right.size
    best = int(np.argmax(np.where(kept >= 1 - MOST_LOST, np.cumsum(gain[order]), -np.inf)))
    following = order[min(best + 1, len(order) - 1)]
    return float((strangeness[order[best]] + strangeness[following]) / 2)


def _outside_told(strange: Sequence[str]) -> str:
    if strange:
        return f"{len(strange)} examples"
    return f"none given: the strangest {LOST:.0%} of prompts are taken for it"


def _routes(file: IntentFile | None) -> set[str]:
    return {one.route for one in file.intents.values() if one.route} if file else set()


def _figures(seen: _Seen, threshold: float) -> dict[str, float]:
    """How well it did on prompts that it was not trained on."""
    kept = -seen.margins.max(axis=1) <= threshold
    right = seen.margins.argmax(axis=1) == seen.truth
    found = {
        "accuracy": float(right.mean()),
        "kept_and_right": float((kept & right).mean()),
        "lost": float(1 - kept.mean()),
    }
    if seen.outside.size:
        found["out_of_scope_found"] = float((-seen.outside > threshold).mean())
    return found
