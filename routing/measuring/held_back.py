"""What a model says of prompts that it has not seen: on its own training data, by folds."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routing.labelled import Labelled
from routing.models.choice import ChoiceModel, Prediction
from routing.models.features import Featurizer
from routing.training.thread_limit import on_one_thread
from routing.training.trials import Trials

LEAST: Final = 20
"""Prompts with the scores of all candidates that are enough without the others."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Prompts with all scores and costs known, and what a model told of them before; `estimated`
    says that some are estimates."""

    data: Labelled
    told: Prediction
    estimated: bool


@on_one_thread
def held_back(model: ChoiceModel, data: Labelled) -> tuple[Labelled, Prediction]:
    """The data (of many rows some) and predictions of each row by a fit to the other folds, with
    the model's own learners, penalties and trust. These were chosen on all rows, which flatters
    by very little; costs are fitted to all. The data have the model's columns."""
    plain = Featurizer.fit(data.prompts, data.metadata, model.metadata, {}, encoder=model.encoder)
    rows = plain.matrix(data.prompts, data.metadata)
    trials = Trials.of(plain, rows, data, int(model.info.get("seed", 0)))
    told = np.mean(
        [
            held
            for one in model.info["learners"]
            for _, held in trials.held_out(one["blocks"], {one["kind"]: (one["penalty"],)})
        ],
        axis=0,
    )
    base = np.nanmean(trials.data.quality, axis=0)
    moved = np.clip(base + model.strength * (told - base), 0, 1)
    quality, cost = np.asarray(moved, np.float32), np.asarray(trials.expected, np.float32)
    return trials.data, Prediction(quality, cost)


def completed(data: Labelled, told: Prediction) -> Judged:
    """With every score and cost known. Prompts that have all of them are kept alone, if there are
    at least 20; else what is missing is estimated: prediction + weight × (score - prediction)
    where a candidate was asked, the prediction elsewhere. That is without bias where weights are
    1 / propensity (Dudík, Langford and Li, ICML 2011)."""
    seen = ~np.isnan(data.quality) & ~np.isnan(data.cost)
    whole = np.flatnonzero(seen.all(axis=1))
    if len(whole) >= LEAST or len(whole) == len(data) or np.isnan(told.cost).any():
        return Judged(data.take(whole), Prediction(told.quality[whole], told.cost[whole]), False)
    weights = np.ones(len(data)) if data.weights is None else data.weights
    quality = np.asarray(_robust(data.quality, told.quality, weights), np.float32)
    cost = _robust(data.cost, told.cost, weights)
    return Judged(replace(data, quality=quality, cost=cost), told, True)


def _robust(seen: NDArray[Any], told: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    known = np.asarray(told, np.float64)
    return np.where(np.isnan(seen), known, known + weights[:, None] * (seen - known))
