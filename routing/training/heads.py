"""Linear classifiers of intents: one of words, one of an encoder's vectors, and what each weighs.

What is rare and telling (words, runs of characters) and what is dense (vectors) want different
losses: margins of a support vector machine for the former, a multinomial logistic regression for
the latter. Fitted apart and added up they are right more often, surer where they are right, and
less sure of strangers than one machine of all columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from routing.models.intent import softmax
from routing.models.linear import Linear
from routing.models.state import Array, Floats
from routing.models.strangeness import Surroundings, strangeness

WORDS_STRENGTH: Final = 0.7
VECTORS_STRENGTH: Final = 10.0
STEPS: Final = 300
FOLDS: Final = 4
USUAL: Final = (4.0, 1.0)
"""What margins of words and of vectors weigh before any prompt has been seen."""
BOUNDS: Final = (-2.0, 5.0)  # of the logarithm of a weight


@dataclass(frozen=True, slots=True)
class Rows:
    """What classifiers see of prompts: `words` float32[n, width], and `vectors` float32[n, d] where
    there is an encoder."""

    words: sparse.csr_matrix
    vectors: Floats | None

    def take(self, chosen: Array) -> "Rows":
        """Some of them, by indices or flags."""
        vectors = None if self.vectors is None else self.vectors[chosen]
        return Rows(self.words[chosen], vectors)


@dataclass(frozen=True, slots=True)
class Told:
    """What heads say of prompts: `margins` float32[k, n, m] of each classifier; the `distances`
    float32[n, m] of their vectors from the intents' where there are any; the margins
    float32[k, n] of `strangers` where these were learned."""

    margins: Floats
    distances: Floats | None = None
    strangers: Floats | None = None

    def blended(self, weights: Floats) -> tuple[Floats, Floats]:
        """Margins float32[n, m] of all classifiers together, and strangeness float32[n]."""
        margins = blend(self.margins, weights)
        rows, likeliest = np.arange(len(margins)), margins.argmax(axis=1)
        distance = None if self.distances is None else self.distances[rows, likeliest]
        stranger = None if self.strangers is None else blend(self.strangers, weights)
        return margins, strangeness(margins, distance, stranger)

    def take(self, chosen: Array) -> "Told":
        """Of some of the prompts, by indices."""
        return Told(
            self.margins[:, chosen],
            None if self.distances is None else self.distances[chosen],
            None if self.strangers is None else self.strangers[:, chosen],
        )


def joined(parts: Sequence[Told]) -> Told:
    """Of all the prompts of the parts, one part after the other."""
    distances = [part.distances for part in parts if part.distances is not None]
    strangers = [part.strangers for part in parts if part.strangers is not None]
    return Told(
        np.concatenate([part.margins for part in parts], axis=1),
        np.concatenate(distances) if distances else None,
        np.concatenate(strangers, axis=1) if strangers else None,
    )


@dataclass(frozen=True, slots=True)
class Heads:
    """A classifier of `intents` intents, and perhaps of strangers, for each kind of features that
    there is; and where vectors lie."""

    intents: int
    words: Linear
    vectors: Linear | None = None
    around: Surroundings | None = None

    @classmethod
    def fit(cls, rows: Rows, places: Array, intents: int, seed: int) -> "Heads":
        """`places` int[n] are the rows' intents, of 0 to `intents` - 1, each of which is among them
        twice or more often; `intents` is that of strangers."""
        machine = LinearSVC(C=WORDS_STRENGTH, random_state=seed).fit(rows.words, places)
        if rows.vectors is None:
            return cls(intents, _linear(machine))
        regression = LogisticRegression(C=VECTORS_STRENGTH, max_iter=STEPS)
        own = places < intents
        return cls(
            intents,
            _linear(machine),
            _linear(regression.fit(rows.vectors, places)),
            Surroundings.of(rows.vectors[own], places[own]),
        )

    def tell(self, rows: Rows) -> Told:
        """Of prompts with rows of the same kind."""
        margins, distances = [self.words.apply(rows.words)], None
        if self.vectors is not None and self.around is not None and rows.vectors is not None:
            margins.append(self.vectors.apply(rows.vectors))
            distances = self.around.distances(rows.vectors)
        told, others = np.split(np.stack(margins), [self.intents], axis=2)
        return Told(told, distances, others[:, :, 0] if others.shape[2] else None)

    def blended(self, weights: Floats) -> Linear:
        """One classifier of all columns, the words' first; `weights` float32[k]."""
        parts = [part for part in (self.words, self.vectors) if part is not None]
        slopes = [weight * part.slopes for weight, part in zip(weights, parts, strict=True)]
        levels = [weight * part.level for weight, part in zip(weights, parts, strict=True)]
        return Linear(np.concatenate(slopes), np.sum(levels, axis=0, dtype=np.float32))


def blend(margins: Floats, weights: Floats) -> Floats:
    """float32[n, ...] of [k, n, ...]: the classifiers' margins added up."""
    return np.asarray(np.tensordot(weights, margins, 1), np.float32)


def weigh(margins: Floats, truth: Array) -> Floats:
    """float32[k]: the weights under whose blend the truth is the least surprising: its mean
    -ln softmax, and as one prompt more the distance to the usual weights.

    `margins` float32[k, n, m] are of prompts that the classifiers were not trained on.
    """
    usual = np.log(USUAL[: len(margins)])
    at = np.arange(len(truth))
    right = margins[:, at, truth].mean(axis=1, dtype=float)

    def surprise(logs: Array) -> tuple[float, Array]:
        weights = np.exp(logs)
        told = softmax(blend(margins, weights.astype(np.float32)))
        loss = -np.log(np.maximum(told[at, truth], 1e-9)).mean(dtype=float)
        meant = np.einsum("knm,nm->k", margins, told) / len(truth)
        away = logs - usual
        return loss + away @ away / len(truth), weights * (meant - right) + 2 * away / len(truth)

    found = minimize(surprise, usual, jac=True, bounds=[BOUNDS] * len(margins), method="L-BFGS-B")
    return np.asarray(np.exp(found.x), np.float32)


def crossed(rows: Rows, places: Array, intents: int, tested: Array, seed: int) -> Told:
    """What is said of the rows `tested` int[t], of each by heads that were fitted without it and
    without the rest of its fold."""
    fold_of = _even(places, np.random.default_rng(seed))
    parts, order = [], []
    for fold in range(FOLDS):
        heads = Heads.fit(rows.take(fold_of != fold), places[fold_of != fold], intents, seed)
        mine = np.flatnonzero(fold_of[tested] == fold)
        parts.append(heads.tell(rows.take(tested[mine])))
        order.append(mine)
    return joined(parts).take(np.argsort(np.concatenate(order)))


def _even(places: Array, drawn: np.random.Generator) -> Array:
    """A fold for each row, the rows of an intent spread over all of them."""
    folds = np.empty(len(places), np.int64)
    for place in np.unique(places):
        mine = drawn.permutation(np.flatnonzero(places == place))
        folds[mine] = (np.arange(mine.size) + drawn.integers(FOLDS)) % FOLDS
    return folds


def _linear(fitted: LinearSVC | LogisticRegression) -> Linear:
    slopes, level = fitted.coef_.T, fitted.intercept_
    if slopes.shape[1] == 1:  # of two intents, one margin is told
        slopes, level = np.hstack([-slopes, slopes]), np.concatenate([-level, level])
    return Linear(slopes.astype(np.float32), level.astype(np.float32))
