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
from routing.models.state import Array, Floats
from routing.training.heads import Heads, Rows, blend, weigh
from routing.training.one_thread import one_thread

WEIGHTS: Final = {"words": 1.0, "runs": 1.5, "shape": 0.0}
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
    """Texts as what the classifiers see of them."""

    featurizer: Featurizer
    encoder: Encoder | None

    def rows(self, texts: Sequence[str]) -> Rows:
        texts = looked_at(texts)
        words = self.featurizer.matrix(texts, [{}] * len(texts))
        return Rows(words, None if self.encoder is None else self.encoder.encode(texts))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Margins of prompts that the classifiers were not trained on: float32[n, m] and int[n] of
    those with an intent, the highest margins float32[k] of those without one."""

    margins: Floats
    truth: Array
    outside: Floats


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
        margins, truth = _held_back(heads, names, reader, held)
        how = "held back"
    else:
        margins, truth = _crossed(rows, places, len(data.train), seed)
        how = "cross-validation"
    weights = weigh(margins, truth)
    learned = heads.blended(weights)
    strange = [*data.train.outside, *(held.outside if held else ())]
    outside = blend(heads.margins(reader.rows(strange)), weights).max(axis=1, initial=-np.inf)
    seen = _Seen(blend(margins, weights), truth, outside)
    right = softmax(seen.margins)[np.arange(len(seen.truth)), seen.truth]
    threshold = _threshold(seen)
    return IntentModel(
        intents=names,
        featurizer=featurizer,
        slopes=learned.slopes,
        level=learned.level,
        temperature=1.0,  # is in the weights
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
        pull=1.0,
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
) -> tuple[Floats, Array]:
    """Margins float32[k, n, m] of the prompts of known intents, and which these are."""
    place = {name: at for at, name in enumerate(names)}
    known = [row for row, label in enumerate(held.labels) if label in place]
    truth = np.array([place[held.labels[row]] for row in known])
    return heads.margins(reader.rows([held.texts[row] for row in known])), truth


def _crossed(rows: Rows, places: Array, own: int, seed: int) -> tuple[Floats, Array]:
    """Margins float32[k, own, m] of the first `own` rows, each by classifiers that were trained
    without its fold, and their intents."""
    fold_of = _even(places, np.random.default_rng(seed))
    found = []
    for fold in range(FOLDS):
        others = fold_of != fold
        tested = np.flatnonzero(~others[:own])
        heads = Heads.fit(rows.take(others), places[others], seed)
        found.append((tested, heads.margins(rows.take(tested))))
    order = np.argsort(np.concatenate([tested for tested, _ in found]))
    return np.concatenate([margins for _, margins in found], axis=1)[:, order], places[:own]


def _even(places: Array, drawn: np.random.Generator) -> Array:
    """A fold for each row, the rows of an intent spread over all of them."""
    folds = np.empty(len(places), np.int64)
    for place in np.unique(places):
        mine = drawn.permutation(np.flatnonzero(places == place))
        folds[mine] = (np.arange(mine.size) + drawn.integers(FOLDS)) % FOLDS
    return folds


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
