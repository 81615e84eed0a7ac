"""Training a model for choice: which learners, how strict, and whether to trust them at all.

Every setting is chosen by cross-validation on what counts in the end: the quality that the
routing would get at each cost (`routing/curve.py`), not the error of the predictions. The
zero router, which tells all prompts alike and so mixes single candidates, is always among
the choices: a model that has learnt nothing routes like it, and not worse.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import scipy
import sklearn
from scipy import sparse

from routing.curve import Gap, Numbers, apgr, choose, hull, prices
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel, Head
from routing.models.features import Featurizer
from routing.models.state import Floats
from routing.training.learners import cost_head, folds, logistic, ridge

LEAST_ROWS: Final = 20
MOST_TUNED: Final = 10_000  # rows that settings are chosen on
_WHOLE: Final = 60  # rows with all scores from which on routing itself is the measure

# Weights of the blocks of features; text alone, or text with tags where there are any.
_TEXT: Final = {"words": 1.0, "runs": 1.0, "shape": 0.15, "tags": 0.7}
_WORDS: Final = {"words": 1.0, "runs": 0.5, "shape": 0.15, "tags": 0.7}
_TAGS: Final = {"words": 0.5, "runs": 0.5, "shape": 0.1, "tags": 1.0}

# The lax ones are for small data that words tell apart well: without them a pilot of 60 prompts
# trusted nothing. On MMLU with 1,500 labels they cost what is within the noise (.599 for .607).
_ALPHAS: Final = (3.0, 10.0, 30.0, 100.0)
_INVERSES: Final = (0.1, 0.3, 1.0)
_MARGIN: Final = 0.005
_STRENGTHS: Final = (0.0, 0.5, 0.75, 1.0)

Fit = Callable[[sparse.csr_matrix, Floats, float, Floats | None], Head]


@dataclass(frozen=True, slots=True)
class Learner:
    """One way to predict: the blocks' weights, the kind of fit, how strict it is."""

    blocks: Mapping[str, float]
    kind: str
    penalty: float

    @property
    def fit(self) -> Fit:
        """The function that makes its head."""
        return ridge if self.kind == "ridge" else logistic

    def told(self) -> dict[str, Any]:
        """For people and JSON."""
        return {"kind": self.kind, "penalty": self.penalty, "blocks": dict(self.blocks)}


@dataclass(frozen=True, slots=True)
class Found:
    """What cross-validation chose: the learners that are averaged, the strength, its score
    and that of the zero router, `held` float32[n, m] what is predicted for held-out rows."""

    learners: tuple[Learner, ...]
    strength: float
    score: float
    zero: float
    held: Floats


def train_choice(data: Labelled, columns: Sequence[str] = (), seed: int = 0) -> ChoiceModel:
    """A model of the data; `columns` are the metadata columns that it may read. Raises
    ValueError for fewer than 20 rows."""
    if len(data) < LEAST_ROWS:
        raise ValueError(f"{len(data)} judged prompts; at least {LEAST_ROWS} are needed")
    plain = Featurizer.fit(data.prompts, data.metadata, columns, {})
    rows = plain.matrix(data.prompts, data.metadata)
    found = _tuned(Bench.of(plain, rows, data, seed))
    blocks = found.learners[0].blocks
    featurizer = replace(plain, weights=dict(blocks))
    scaled = weighted(plain, rows, blocks)
    heads = tuple(
        replace(
            learner.fit(scaled, data.quality, learner.penalty, data.weights),
            weight=1 / len(found.learners),
        )
        for learner in found.learners
    )
    text = plain.words.bucket.size + plain.runs.bucket.size
    return ChoiceModel(
        candidates=data.candidates,
        featurizer=featurizer,
        heads=heads,
        costs=cost_head(scaled[:, text:].toarray(), data),
        base=_means(data),
        strength=found.strength,
        info=_info(data, found, columns, seed),
    )


def weighted(
    featurizer: Featurizer, rows: sparse.csr_matrix, blocks: Mapping[str, float]
) -> sparse.csr_matrix:
    """Rows of weight 1 with the blocks weighted."""
    words, runs = featurizer.words.bucket.size, featurizer.runs.bucket.size
    tags = sum(len(known) for known in featurizer.tags)
    sizes = (words, runs, featurizer.middle.size, tags)
    names = ("words", "runs", "shape", "tags")
    scale = np.repeat([np.float32(blocks[name]) for name in names], sizes)
    scaled = rows.copy()
    scaled.data = rows.data * scale[rows.indices]
    return scaled


@dataclass(frozen=True, slots=True)
class Bench:
    """The rows on which settings are tried, cut into folds, and how a try is scored."""

    featurizer: Featurizer
    rows: sparse.csr_matrix
    data: Labelled
    cuts: Sequence[tuple[Any, Any]]
    expected: Numbers

    @classmethod
    def of(
        cls, featurizer: Featurizer, rows: sparse.csr_matrix, data: Labelled, seed: int
    ) -> "Bench":
        """At most `MOST_TUNED` of the data; five folds, of many rows three."""
        if len(data) > MOST_TUNED:
            kept = np.sort(np.random.default_rng(seed).permutation(len(data))[:MOST_TUNED])
            rows, data = rows[kept], data.take(kept)
        text = featurizer.words.bucket.size + featurizer.runs.bucket.size
        expected = cost_head(rows[:, text:].toarray(), data).apply(rows).astype(np.float64)
        cuts = folds(data.prompts, 5 if len(data) <= 4_000 else 3, seed)
        return cls(featurizer, rows, data, cuts, expected)

    def held_out(self, learner: Learner) -> Floats:
        """float32[n, m]: what the learner predicts for rows that it was not fitted on."""
        rows = weighted(self.featurizer, self.rows, learner.blocks)
        told = np.zeros(self.data.quality.shape, np.float32)
        for fit, look in self.cuts:
            head = learner.fit(
                rows[fit],
                self.data.quality[fit],
                learner.penalty,
                None if self.data.weights is None else self.data.weights[fit],
            )
            told[look] = head.apply(rows[look])
        return told

    def score(self, told: Floats) -> float:
        """How good routing by these predictions is: APGR of two candidates without costs, AIQ
        otherwise; less the squared error where few rows have all scores."""
        quality = self.data.quality
        whole = ~np.isnan(quality).any(axis=1)
        if whole.sum() < _WHOLE or np.isnan(self.expected).any():
            return -float(np.nanmean((told - quality) ** 2))
        true, guess = quality[whole].astype(np.float64), told[whole].astype(np.float64)
        if self.data.costs == "calls" and quality.shape[1] == 2:
            weak, strong = np.argsort(true.mean(axis=0), kind="stable")
            gap, _ = Gap.of(guess[:, strong] - guess[:, weak], true[:, weak], true[:, strong])
            return apgr(gap.recovered(np.ones(len(true))))
        return routed_aiq(guess, self.expected[whole], true, self.data.cost[whole])


def routed_aiq(told: Numbers, expected: Numbers, true: Numbers, cost: Numbers) -> float:
    """AIQ of routing by predictions: the mean quality of its hull over the range of cost."""
    rows = np.arange(len(true))
    points = [choose(told, expected, price) for price in prices(told, expected, 30)]
    paid = np.array([cost[rows, choice].mean() for choice in points])
    got = np.array([true[rows, choice].mean() for choice in points])
    singles = cost.mean(axis=0)
    return hull(paid, got).mean(float(singles.min()), float(singles.max()))


def _tuned(bench: Bench) -> Found:
    """Blocks and penalty by ridge; with those blocks the logistic fit; then both, or one."""
    tagged = bool(bench.featurizer.columns)
    kinds = (_TEXT, _WORDS, _TAGS) if tagged else (_TEXT, _WORDS)
    ridges = [Held.of(bench, kind, "ridge", _ALPHAS) for kind in kinds]
    top = max(ridges, key=lambda held: held.score)
    logit = Held.of(bench, top.learner.blocks, "logistic", _INVERSES)
    both = np.asarray((top.told + logit.told) / 2, np.float32)
    options = [
        ((top.learner, logit.learner), both),
        ((top.learner,), top.told),
        ((logit.learner,), logit.told),
    ]
    # The average errs least on new data: one learner alone has to be better by a margin.
    learners, told = max(
        options, key=lambda option: bench.score(option[1]) - _MARGIN * (2 - len(option[0]))
    )
    base = _means(bench.data)
    at = {
        strength: np.asarray(base + np.float32(strength) * (told - base), np.float32)
        for strength in _STRENGTHS
    }
    scores = {strength: bench.score(moved) for strength, moved in at.items()}
    strength = max(scores, key=lambda one: (scores[one], one))
    return Found(learners, strength, scores[strength], scores[0.0], at[strength])


@dataclass(frozen=True, slots=True)
class Held:
    """The best of some penalties: its learner, its score, what it predicts for held-out rows."""

    learner: Learner
    score: float
    told: Floats

    @classmethod
    def of(
        cls, bench: Bench, blocks: Mapping[str, float], kind: str, penalties: Sequence[float]
    ) -> "Held":
        """Tries them all."""
        held = []
        for penalty in penalties:
            learner = Learner(blocks, kind, penalty)
            told = bench.held_out(learner)
            held.append(cls(learner, bench.score(told), told))
        return max(held, key=lambda one: one.score)


def _means(data: Labelled) -> Floats:
    """float32[m]: each candidate's mean score, weighted; NaN for one that was never judged."""
    known = ~np.isnan(data.quality)
    weights = np.ones(len(data)) if data.weights is None else data.weights
    counted = known * weights[:, None]
    with np.errstate(invalid="ignore"):
        means = np.where(known, data.quality, 0.0) * weights[:, None]
        return np.asarray(means.sum(axis=0) / counted.sum(axis=0), np.float32)


def _info(data: Labelled, found: Found, columns: Sequence[str], seed: int) -> dict[str, Any]:
    measure = "apgr" if data.costs == "calls" and len(data.candidates) == 2 else "aiq"
    return {
        "rows": len(data),
        "candidates": list(data.candidates),
        "metadata": list(columns),
        "costs": data.costs,
        "seed": seed,
        "learners": [learner.told() for learner in found.learners],
        "policy": "predicted" if found.strength else "mix of single candidates",
        "strength": found.strength,
        "cross_validated": {
            measure: round(found.score, 4),
            f"{measure}_zero": round(found.zero, 4),
        },
        "libraries": {
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
