"""Training what tells whether an answer is likely right, on answers that were judged."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from routing.labelled import Labelled
from routing.models.acceptance import Acceptance, acceptance_rows, agreement
from routing.models.features import Featurizer
from routing.models.state import Array, Floats

LEAST_ROWS = 50
FOLDS = 3
MOST_ANSWERS = 4_000  # that a scorer is fitted on, evenly over the candidates
TOLERANCE = 0.005
"""Of the mean quality of the best candidate, that a cascade may lose for its savings."""


def train_acceptance(data: Labelled, seed: int = 0) -> Acceptance | None:
    """A scorer of the answers of all candidates but the best; None where the data have no
    answers of those, or fewer than 50 that were judged.

    Each answer is learned from alone, as a first step sees it, and beside those of the other
    cheap candidates. The threshold is the lowest one at which, on held-out folds, a cascade
    from the first candidate with answers to the best one loses no more than 0.005 of the
    latter's mean quality.
    """
    best = int(np.nanargmax(np.nanmean(data.quality, axis=0)))
    cheap = [name for name in data.candidates if name in data.responses]
    cheap = [name for name in cheap if name != data.candidates[best]]
    if not cheap or _rows(data, cheap)[0].size < LEAST_ROWS:
        return None
    told = np.full(len(data), np.nan)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(data))
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        scorer = _fit(data.take(inside), cheap)
        if scorer is not None:
            left = data.take(outside)
            first = left.responses[cheap[0]]
            told[outside] = scorer.accept_all(left.prompts, first, [None] * len(left))
    whole = _fit(data, cheap)
    if whole is None:
        return None
    column = data.candidates.index(cheap[0])
    return replace(
        whole, threshold=_threshold(told, data.quality[:, column], data.quality[:, best])
    )


def _threshold(told: Array, first: Floats, best: Floats) -> float:
    known = ~(np.isnan(told) | np.isnan(first) | np.isnan(best))
    told, first, best = told[known], first[known], best[known]
    order = np.argsort(-told)
    # By how many of the likeliest answers are taken: the mean quality of the cascade.
    gained = np.concatenate([[0.0], np.cumsum(first[order] - best[order])]) / max(1, told.size)
    enough = int(np.flatnonzero(gained >= -TOLERANCE).max())
    if enough == 0:
        return 0.99
    return float(np.clip(told[order[enough - 1]], 0.01, 0.99))


def _rows(data: Labelled, names: Sequence[str]) -> tuple[Array, Array]:
    """Which (row, candidate) pairs have an answer and a score; both int64[k]."""
    found = [
        (row, data.candidates.index(name))
        for name in names
        for row in range(len(data))
        if data.responses[name][row]
        and not np.isnan(data.quality[row, data.candidates.index(name)])
    ]
    both = np.array(found, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _fit(data: Labelled, names: Sequence[str]) -> Acceptance | None:
    """None where the answers are all right, or all wrong."""
    rows, columns = _rows(data, names)
    step = -(-rows.size // MOST_ANSWERS) or 1
    rows, columns = rows[::step], columns[::step]
    right = data.quality[rows, columns] >= 0.5
    if right.all() or not right.any():
        return None
    prompts, answers, agree = [], [], []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        name = data.candidates[column]
        prompts.append(data.prompts[row])
        answers.append(data.responses[name][row])
        others = [data.responses[one][row] for one in names if one != name]
        agree.append(agreement(answers[-1], others))
    weights = {"shape": 0.3, "tags": 0.0}
    blank: list[dict[str, str]] = [{}] * len(prompts)
    asked = Featurizer.fit(prompts, blank, (), weights)
    said = Featurizer.fit(answers, blank, (), weights)
    matrix = acceptance_rows(
        asked, said, prompts * 2, answers * 2, [*agree, *([None] * len(prompts))]
    )
    fitted = LogisticRegression(C=0.5, max_iter=300).fit(matrix, np.tile(right, 2))
    return Acceptance(asked, said, fitted.coef_[0].astype(np.float32), float(fitted.intercept_[0]))
