"""The two layers of a cascade's scorer (`routing/models/acceptance.py`), fitted.

The first layer is ridge regression in its dual form, (K + αI)a = y with K the products of rows: the
products are made once, and each fold, each answer and each target is one small system of equations.
What the second layer learns from are predictions for rows that the first one had not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import linalg, sparse
from sklearn.linear_model import LogisticRegression

from routing.curve import Numbers
from routing.models.acceptance import Telling, Weighing, stacked
from routing.models.features import Featurizer
from routing.models.linear import Linear
from routing.models.state import Array, Floats
from routing.training.learners import folds

FOLDS: Final = 5
_ALPHA: Final = 10.0
_INVERSE: Final = 0.1
_PROMPTS: Final = {"words": 1.0, "runs": 1.0, "shape": 0.15}
_ANSWERS: Final = {"words": 1.0, "runs": 1.0, "shape": 0.3}


@dataclass(frozen=True, slots=True)
class Texts:
    """Prompts and each cheap candidate's answers as rows of features, with their products:
    `asked` float64[n, n], `said` by candidate the same."""

    prompts: Featurizer
    answers: Featurizer
    rows: sparse.csr_matrix
    given: Sequence[sparse.csr_matrix]
    asked: Numbers
    said: Sequence[Numbers]

    @classmethod
    def of(cls, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> "Texts":
        """`answers` by candidate, as many each as there are prompts."""
        blank: list[dict[str, str]] = [{}] * len(prompts)
        every = [text for column in answers for text in column]
        asked = Featurizer.fit(prompts, blank, (), _PROMPTS)
        said = Featurizer.fit(every, [{}] * len(every), (), _ANSWERS)
        rows, given = asked.matrix(prompts, blank), [said.matrix(one, blank) for one in answers]
        return cls(asked, said, rows, given, _products(rows), [_products(one) for one in given])


@dataclass(frozen=True, slots=True)
class First:
    """The first layer's word on rows it has not seen: `foreseen` float32[n, k + 1], each cheap
    candidate's quality and the strong one's; `seen` float32[n, k], that of their answers; `dearer`
    float32[n], ln(the strong one's cost / its usual cost)."""

    foreseen: Floats
    seen: Floats
    dearer: Floats

    @classmethod
    def held_out(
        cls, texts: Texts, prompts: Sequence[str], quality: Floats, dearer: Numbers, seed: int
    ) -> "First":
        """By folds; the columns of `quality` are the cheap candidates and the strong one."""
        told = np.empty((len(prompts), quality.shape[1] + 1))
        seen = np.empty((len(prompts), quality.shape[1] - 1))
        for fit, look in folds(prompts, FOLDS, seed):
            targets = np.column_stack((quality[fit], dearer[fit]))
            told[look] = _predicted(texts.asked, targets, fit, look)
            for place, said in enumerate(texts.said):
                seen[look, place] = _predicted(texts.asked + said, quality[fit, place], fit, look)
        foreseen = np.asarray(told[:, :-1], np.float32)
        return cls(foreseen, np.asarray(seen, np.float32), np.asarray(told[:, -1], np.float32))

    def columns(self, places: Sequence[int], telling: Telling) -> Floats:
        """What the second layer sees where these candidates have answered."""
        at = list(places)
        return stacked(self.foreseen[:, [*at, -1]], self.seen[:, at], telling.take(at))


def first_layer(
    texts: Texts, places: Sequence[int], quality: Floats, dearer: Numbers
) -> tuple[Linear, Linear]:
    """What is foreseen of a prompt, and seen in an answer, for the candidates at these places."""
    targets = np.column_stack((quality[:, [*places, -1]], dearer))
    foreseen = _primal(texts.rows, texts.asked, targets)
    seen = [
        _primal(
            sparse.hstack([texts.rows, texts.given[place]], format="csr"),
            texts.asked + texts.said[place],
            quality[:, [place]],
        )
        for place in places
    ]
    slopes = np.hstack([one.slopes for one in seen])
    return foreseen, Linear(slopes, np.concatenate([one.level for one in seen]))


def second_layer(columns: Floats, right: Array) -> Weighing:
    """Logistic regression on standardized columns; `right` bool[n, targets]."""
    middle, spread = columns.mean(axis=0), columns.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1).astype(np.float32)
    scaled = np.clip((columns - middle) / spread, -4, 4)
    maps = [_logistic(scaled, target) for target in right.T]
    slopes = np.column_stack([slope for slope, _ in maps]).astype(np.float32)
    return Weighing(middle, spread, Linear(slopes, np.array([at for _, at in maps], np.float32)))


def _logistic(columns: Floats, right: Array) -> tuple[Floats, float]:
    if right.all() or not right.any():
        return np.zeros(columns.shape[1], np.float32), 30.0 if right.all() else -30.0
    fitted = LogisticRegression(C=_INVERSE, max_iter=300, tol=1e-3).fit(columns, right)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _products(rows: sparse.csr_matrix) -> Numbers:
    return np.asarray((rows @ rows.T).toarray(), np.float64)


def _dual(products: Numbers, targets: Array) -> Numbers:
    held = products + _ALPHA * np.eye(len(products))
    return np.asarray(linalg.solve(held, targets, assume_a="pos", overwrite_a=True))


def _predicted(products: Numbers, targets: Array, fit: Array, look: Array) -> Numbers:
    level = targets.mean(axis=0)
    found = _dual(products[np.ix_(fit, fit)], targets - level)
    return np.asarray(level + products[np.ix_(look, fit)] @ found)


def _primal(rows: sparse.csr_matrix, products: Numbers, targets: Array) -> Linear:
    level = targets.mean(axis=0)
    slopes = rows.T @ _dual(products, targets - level)
    return Linear(np.asarray(slopes, np.float32), np.asarray(level, np.float32))
