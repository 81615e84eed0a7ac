"""The linear learners behind the predictions, and how training data are cut into folds."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from routing.labelled import Labelled
from routing.models.choice import CostHead, Head
from routing.models.state import Array, Floats

_TINY: Final = 1e-12


def ridge(
    rows: sparse.csr_matrix, quality: Floats, alpha: float, weights: Floats | None = None
) -> Head:
    """Least squares with a penalty `alpha` on the slopes, for each candidate on the rows that
    have its score: Σ w (q - xs - l)² + alpha s²."""
    slopes = np.zeros((rows.shape[1], quality.shape[1]), np.float32)
    level = np.zeros(quality.shape[1], np.float32)
    for place, known in _judged(quality):
        fitted = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-3)
        fitted.fit(rows[known], quality[known, place], _of(weights, known))
        slopes[:, place], level[place] = fitted.coef_, fitted.intercept_
    return Head(slopes, level, "identity", 1.0)


def logistic(
    rows: sparse.csr_matrix, quality: Floats, inverse: float, weights: Floats | None = None
) -> Head:
    """Logistic regression with a penalty s² / 2 `inverse`. A score between 0 and 1 counts as
    right for its part and as wrong for the rest."""
    slopes = np.zeros((rows.shape[1], quality.shape[1]), np.float32)
    level = np.zeros(quality.shape[1], np.float32)
    for place, known in _judged(quality):
        score = quality[known, place].astype(np.float64)
        right, wrong = known[score > 0], known[score < 1]
        if not right.size or not wrong.size:
            level[place] = 30.0 if right.size else -30.0
            continue
        part = np.concatenate((score[score > 0], 1 - score[score < 1]))
        both = np.concatenate((right, wrong))
        counted = part if weights is None else part * weights[both]
        target = np.concatenate((np.ones(right.size), np.zeros(wrong.size)))
        fitted = LogisticRegression(C=inverse, tol=1e-3, max_iter=200)
        fitted.fit(rows[both], target, counted)
        slopes[:, place], level[place] = fitted.coef_[0], fitted.intercept_[0]
    return Head(slopes, level, "logistic", 1.0)


def cost_head(last: Array, data: Labelled) -> CostHead:
    """Least squares on ln(cost) over the shape and the tags of prompts: `last` float32[n, k].
    A candidate whose cost is never known gets NaN."""
    many = len(data.candidates)
    slopes, level = np.zeros((last.shape[1], many), np.float32), np.zeros(many, np.float32)
    factor, least, most = np.ones((3, many), np.float32)
    for place in range(many):
        known = np.flatnonzero(~np.isnan(data.cost[:, place]))
        cost = data.cost[known, place]
        if not known.size or cost.min() == cost.max():
            level[place] = least[place] = most[place] = cost[0] if known.size else np.nan
            continue
        least[place], most[place] = cost.min(), cost.max()
        target = np.log(np.maximum(cost, max(cost[cost > 0].min() / 2, _TINY)))
        fitted = Ridge(alpha=0.1).fit(last[known], target)
        slopes[:, place], level[place] = fitted.coef_, fitted.intercept_
        told = np.clip(np.exp(fitted.predict(last[known])), least[place], most[place])
        factor[place] = cost.sum() / told.sum()
    return CostHead(slopes, level, factor, least, most)


def folds(prompts: Sequence[str], many: int, seed: int) -> list[tuple[Array, Array]]:
    """`many` pairs of rows to fit on and rows to look at; equal prompts stay together."""
    _, group = np.unique(np.array(prompts, object).astype(str), return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    fold = order[group] % many
    return [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in range(many)]


def _judged(quality: Floats) -> Iterator[tuple[int, Array]]:
    for place in range(quality.shape[1]):
        known = np.flatnonzero(~np.isnan(quality[:, place]))
        if known.size:
            yield place, known


def _of(weights: Floats | None, rows: Array) -> Floats | None:
    return None if weights is None else weights[rows]
