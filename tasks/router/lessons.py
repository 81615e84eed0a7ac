"""Lessons: from scored answers to a model of choice, and whether it is better than the last.

Imports numpy and scikit-learn: for commands and control workers that train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.money import Price
from core.pilot import LEAST_SAMPLE
from core.settings import configured_name
from db.lessons import Lesson
from db.results import answer_text
from routing.labelled import Labelled
from routing.measuring.drift import portrait
from routing.models.choice import ChoiceModel
from routing.models.encoder import WORDS, Encoder
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tasks.encoders.find import find_encoder
from tasks.router.sample import telling
from tasks.router.tags import prompt_and_tags

FOLDS: Final = 5
MOST_WEIGHT: Final = 20.0
"""An answer counts for at most so many: a very unlikely one would drown all others."""


@dataclass(frozen=True, slots=True)
class Taught:
    """A new model and how it was compared: `error` is its mean squared error on prompts that it
    had not seen, `known_error` that of the model in use on the same ones (None: there is none,
    or it does not know all candidates); `known_cascade` says whether that one has a cascade."""

    model: ChoiceModel
    error: float
    known_error: float | None
    known_cascade: bool = False

    @property
    def better(self) -> bool:
        """A model with a cascade is worth more than one without, whatever they foresee."""
        cascade = self.model.acceptance is not None
        if self.known_error is None or cascade != self.known_cascade:
            return self.known_error is None or cascade
        return self.error < self.known_error

    @property
    def why(self) -> str:
        """The comparison, in a sentence."""
        own = f"on prompts it had not seen its predictions are off by {self.error**0.5:.3f}"
        if self.known_error is None:
            return f"{own}; no model in use knows all candidates"
        other = f"those of the version in use by {self.known_error**0.5:.3f}"
        told = f"{own}, {other} (root mean squared, {FOLDS}-fold cross-validation)"
        if (self.model.acceptance is not None) == self.known_cascade:
            return told
        return f"{told}; only {'the one in use' if self.known_cascade else 'it'} has a cascade"


def labelled(lessons: Sequence[Lesson]) -> Labelled:
    """The answers as one row a prompt and one column a deployment, NaN where it was not asked,
    the mean where it was asked again; `responses` have the answer where there is just one. A row
    counts 1 / propensity; what the metadata say of the right answer is left out. Raises InputError
    where no two deployments have enough answers."""
    names = _candidates(lessons)
    place: dict[tuple[bytes, str], int] = {}
    prompts: list[str] = []
    metadata: list[dict[str, str]] = []
    cells: list[tuple[int, int, float, float, float]] = []
    said: dict[tuple[str, int], str] = {}
    for one in lessons:
        name = configured_name(one.deployment)
        if name not in names:
            continue
        text, tags = prompt_and_tags(one.body.encode(), one.metadata)
        tags.pop(one.gold, None)
        key = one.prompt_hash, repr(sorted(tags.items()))
        if key not in place:
            place[key] = len(prompts)
            prompts.append(text)
            metadata.append(tags)
        cell = name, place[key]
        said[cell] = "" if cell in said else written(one.reply or "")
        usd = np.nan if one.cost_nusd is None else one.cost_nusd / 1e9
        weight = min(MOST_WEIGHT, 1 / one.propensity) if one.propensity else 1.0
        cells.append((place[key], names.index(name), one.score, usd, weight))
    table = np.array(cells)
    at = table[:, 0].astype(int), table[:, 1].astype(int)
    shape = len(prompts), len(names)
    quality, cost = _means(shape, at, table[:, 2]), _means(shape, at, table[:, 3])
    return Labelled(
        prompts,
        metadata,
        tuple(names),
        quality.astype(np.float32),
        cost,
        "measured",
        {name: [said.get((name, row), "") for row in range(len(prompts))] for name in names},
        weights=_row_weights(shape, at, table[:, 4]),
    )


def teach(
    data: Labelled,
    known: ChoiceModel | None,
    prices: Mapping[str, Price | None],
    columns: Sequence[str] | None = None,
) -> Taught:
    """A model of the data, with a cascade where their answers are worth one, beside the one in
    use; `columns` are the metadata columns it reads (None: those that sort requests into a few
    kinds). Raises InputError for too few data."""
    unpriced = [n for n, usd in _by_name(data, _known(data.cost)).items() if not usd]
    if unpriced:
        raise InputError(
            f"Nobody knows what {', '.join(unpriced)} costs. Give it a price in batchyard.yaml; "
            "calls from then on have a cost"
        )
    read = telling(data.metadata, "") if columns is None else list(columns)
    try:
        model = train_choice(data, read, encoder=find_encoder(WORDS))
        error, known_error = errors(data, read, known, model.encoder)
    except ValueError as error_:
        raise InputError(f"Nothing to learn from: {error_}") from error_
    acceptance = train_acceptance(data)
    told: dict[str, Any] = {
        "acceptance": acceptance and acceptance.info,
        "candidates": list(data.candidates),
        "quality": _by_name(data, np.nanmean(data.quality, axis=0)),
        "scores": _by_name(data, _known(data.quality)),
        "cv_error": error,
        "known_error": known_error,
        "prices": {
            name: [float(price.input_per_mtok), float(price.output_per_mtok)]
            for name, price in prices.items()
            if price is not None and name in data.candidates
        },
        "portrait": portrait(data.prompts, data.metadata, read),
    }
    whole = replace(model, info={**model.info, **told}, acceptance=acceptance)
    return Taught(whole, error, known_error, known is not None and known.acceptance is not None)


def written(reply: str) -> str:
    """The text of an answer (JSON) as a scorer of answers reads it; empty where it calls tools."""
    text, finish = answer_text(reply) if reply else ("", "")
    return "" if finish == "tool_calls" else text


def _candidates(lessons: Sequence[Lesson]) -> list[str]:
    counts: dict[str, int] = {}
    for one in lessons:
        name = configured_name(one.deployment)
        counts[name] = counts.get(name, 0) + 1
    names = sorted(name for name, count in counts.items() if count >= LEAST_SAMPLE)
    if len(names) < 2:
        there = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
        raise InputError(
            f"A router learns from scored answers of two deployments or more, {LEAST_SAMPLE} of "
            f"each; there are: {there}. Run a pilot (submit --pilot 500), or let a route explore"
        )
    return names


def _means(
    shape: tuple[int, int], at: tuple[NDArray[Any], NDArray[Any]], values: NDArray[Any]
) -> NDArray[np.float64]:
    total, count = np.zeros(shape), np.zeros(shape)
    known = ~np.isnan(values)
    where = at[0][known], at[1][known]
    np.add.at(total, where, values[known])
    np.add.at(count, where, 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _row_weights(
    shape: tuple[int, int], at: tuple[NDArray[Any], NDArray[Any]], weights: NDArray[Any]
) -> NDArray[np.float32]:
    """The mean over a prompt's answers; that of one whom all were asked is 1."""
    rows = np.nanmean(_means(shape, at, weights), axis=1)
    asked = np.bincount(np.unique(at[0] * shape[1] + at[1]) // shape[1], minlength=shape[0])
    return np.where(asked == shape[1], 1.0, rows).astype(np.float32)


def errors(
    data: Labelled,
    columns: Sequence[str],
    known: ChoiceModel | None,
    encoder: Encoder | None = None,
) -> tuple[float, float | None]:
    """Weighted mean squared errors, out of fold, of the new way and of the model in use. That
    one may have seen some of the prompts, which is to its advantage."""
    fold = np.random.default_rng(0).permutation(len(data)) % FOLDS
    told = np.full(data.quality.shape, np.nan, np.float32)
    for number in range(FOLDS):
        rest, own = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        made, part = train_choice(data.take(rest), columns, encoder=encoder), data.take(own)
        told[own] = made.predict(part.prompts, part.metadata).quality
    error = _error(data, told)
    if known is None or not set(data.candidates) <= set(known.candidates):
        return error, None
    at = [known.candidates.index(name) for name in data.candidates]
    return error, _error(data, known.predict(data.prompts, data.metadata).quality[:, at])


def _error(data: Labelled, told: NDArray[Any]) -> float:
    seen = ~np.isnan(data.quality)
    rows = np.ones(len(data), np.float32) if data.weights is None else data.weights
    weights = (rows[:, None] * np.ones(data.quality.shape, np.float32))[seen]
    return float(np.average((told[seen] - data.quality[seen]) ** 2, weights=weights))


def _known(table: NDArray[Any]) -> NDArray[Any]:
    """How many of each column are known."""
    known: NDArray[Any] = (~np.isnan(table)).sum(axis=0)
    return known


def _by_name(data: Labelled, values: NDArray[Any]) -> dict[str, float]:
    return dict(zip(data.candidates, values.tolist(), strict=True))
