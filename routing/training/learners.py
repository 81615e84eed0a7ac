"""The linear learners behind the predictions, fitted for all candidates and penalties at once.

Both are least squares with a penalty, solved for one number a row instead of one a feature:
slopes = rows.T @ pull (Saunders, Gammerman and Vovk, ICML 1998). The logistic one is such a fit
again and again, with other weights and targets each time (Newton's method).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge

from routing.labelled import Labelled
from routing.models.choice import CostHead, Head
from routing.models.state import Array, Floats

Product = Callable[[Floats], Floats]
"""float32[n, k] to rows @ (rows.T @ it)."""

Link = Literal["identity", "logistic"]

_TINY: Final = 1e-12
_CLOSE: Final = 2e-3  # what is left of the residual of a solution
_STEPS: Final = 200  # of conjugate gradients at most
_ROUNDS: Final = 20  # of Newton's method at most
_STILL: Final = 0.02  # a round that moves no prediction by so much (before the link) is the last
_FLAT: Final = 0.03  # the least slope of the logistic curve that a round reckons with


@dataclass(frozen=True, slots=True)
class Fitted:
    """`pull` float32[n, k], `level` float32[k]: what a row adds to predictions like it."""

    pull: Floats
    level: Floats
    link: Link

    def told(self, alike: Floats) -> Floats:
        """float32[l, k]: predictions for other rows, by their products with the fitted ones."""
        return linked(alike @ self.pull + self.level, self.link)

    def head(self, rows: sparse.csr_matrix) -> Head:
        """The same for rows that are not known yet; `rows` are the fitted ones."""
        return Head(np.asarray(rows.T @ self.pull, np.float32), self.level, self.link, 1.0)


def linked(raw: Floats, link: Link) -> Floats:
    """A linear prediction as one of quality."""
    told = raw if link == "identity" else 1 / (1 + np.exp(-np.clip(raw, -30, 30)))
    return np.asarray(told, np.float32)


def product(rows: sparse.csr_matrix) -> Product:
    """That of many rows, which never stand as a square."""
    across = rows.T.tocsr()
    return lambda pull: np.asarray(rows @ (across @ pull), np.float32)


def ridge(
    times: Product, quality: Floats, penalties: Sequence[float], weights: Floats | None = None
) -> Fitted:
    """Least squares: Σ w (q - xs - l)² + penalty s², over the rows that have a candidate's score.
    Columns are the candidates by the first penalty, then by the next."""
    target, weight = _judged(quality, len(penalties), weights)
    pull, level = _squares(times, target, weight, _each(penalties, quality.shape[1]))
    return Fitted(pull, level, "identity")


def logistic(
    times: Product, quality: Floats, penalties: Sequence[float], weights: Floats | None = None
) -> Fitted:
    """Logistic regression: Σ w (cross entropy) + penalty s² / 2. A score between 0 and 1 counts as
    right for its part and as wrong for the rest. Columns as those of `ridge`."""
    target, weight = _judged(quality, len(penalties), weights)
    strict = _each(penalties, quality.shape[1])
    counted = np.maximum(weight.sum(axis=0), np.float32(_TINY))
    mean = np.clip((target * weight).sum(axis=0) / counted, 1e-6, 1 - 1e-6)
    level = np.asarray(np.log(mean / (1 - mean)), np.float32)
    pull = np.zeros_like(target)
    raw = np.tile(level, (len(target), 1))
    for number in range(_ROUNDS):
        told = linked(raw, "logistic")
        slope = np.maximum(told * (1 - told), np.float32(_FLAT))
        aim = np.asarray(raw + (target - told) / slope, np.float32)
        close = max(_CLOSE, 0.05 / 5**number)
        pull, level = _squares(times, aim, weight * slope, strict, pull, close)
        after = times(pull) + level
        moved = float(np.abs(after - raw).max())
        raw = after
        if moved < _STILL:
            break
    return Fitted(pull, level, "logistic")


def _judged(quality: Floats, times: int, weights: Floats | None) -> tuple[Floats, Floats]:
    """Targets and weights float32[n, m × times]; what was not judged weighs nothing."""
    known = ~np.isnan(quality)
    counted = known if weights is None else known * weights[:, None]
    target = np.where(known, quality, 0)
    return (
        np.tile(np.asarray(target, np.float32), (1, times)),
        np.tile(np.asarray(counted, np.float32), (1, times)),
    )


def _each(penalties: Sequence[float], candidates: int) -> Floats:
    return np.repeat(np.asarray(penalties, np.float32), candidates)


def _squares(
    times: Product,
    target: Floats,
    weight: Floats,
    penalty: Floats,
    start: Floats | None = None,
    close: float = _CLOSE,
) -> tuple[Floats, Floats]:
    """The pull and the level of each column, by conjugate gradients.

    With r = sqrt(weight), pull = r u: (r K r + penalty) u + r level = r target, and r·u = 0, which
    is what makes the level free of charge; steps stay within r·u = 0.
    """
    root = np.sqrt(weight)
    norm = np.maximum((root * root).sum(axis=0), np.float32(_TINY))

    def within(move: Floats) -> Floats:
        return np.asarray(move - root * ((root * move).sum(axis=0) / norm), np.float32)

    def applied(move: Floats) -> Floats:
        return root * times(root * move) + penalty * move

    aim = root * target
    at = np.zeros_like(aim)
    left = within(aim)
    # Below a millionth of the aim there is only rounding, which would grow.
    enough = close**2 * (left * left).sum(axis=0) + 1e-12 * (aim * aim).sum(axis=0) + _TINY
    if start is not None:
        at = within(np.divide(start, root, out=at, where=root > 0))
        left = within(aim - applied(at))
    move, size = left.copy(), (left * left).sum(axis=0)
    for _ in range(_STEPS):
        going = size > enough
        if not going.any():
            break
        change = within(applied(move))
        bend = np.maximum((move * change).sum(axis=0), penalty * (move * move).sum(axis=0))
        step = np.where(going, size / np.maximum(bend, _TINY), 0)
        at += np.float32(step) * move
        left = within(left - np.float32(step) * change)
        after = (left * left).sum(axis=0)
        move = left + np.float32(np.where(going, after / np.maximum(size, _TINY), 0)) * move
        size = after
    level = (root * (aim - applied(at))).sum(axis=0) / norm
    return root * at, np.asarray(level, np.float32)


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
