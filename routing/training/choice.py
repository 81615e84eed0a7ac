"""Training a model for choice: which learners, how strict, and whether to trust them at all.

Every setting is chosen by cross-validation (`routing/training/trials.py`). The zero router, which
tells all prompts alike and so mixes single candidates, is always among the choices, and what is
chosen is not worse than it at any budget: a model that has learnt nothing routes like it.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import scipy
import sklearn

from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from routing.models.encoder import Encoder
from routing.models.features import Featurizer
from routing.models.state import Floats
from routing.training.learners import cost_head, product
from routing.training.thread_limit import on_one_thread
from routing.training.trials import Learner, Trials, weighted

LEAST_ROWS: Final = 20

# Weights of the blocks of features: of text, and of text with tags where there are any; those with
# vectors are tried where there is an encoder.
_TEXT: Final = (
    {"words": 1.0, "runs": 1.0, "shape": 0.15, "tags": 0.7},
    {"words": 1.0, "runs": 0.5, "shape": 0.15, "tags": 0.7},
    {"words": 1.0, "runs": 1.0, "vectors": 0.75, "shape": 0.15, "tags": 0.7},
)
_TAGS: Final = (
    {"words": 1.0, "runs": 1.0, "shape": 0.15, "tags": 1.0},
    {"words": 0.5, "runs": 0.5, "shape": 0.1, "tags": 1.0},
    {"words": 0.0, "runs": 0.0, "shape": 0.1, "tags": 1.0},
    {"words": 0.5, "runs": 0.5, "vectors": 0.75, "shape": 0.1, "tags": 1.0},
    {"words": 1.0, "runs": 1.0, "vectors": 1.0, "shape": 0.15, "tags": 1.0},
)

# The lax ones are for small data that words tell apart well: without them a pilot of 60 prompts
# trusted nothing.
_PENALTIES: Final = {"ridge": (3.0, 10.0, 30.0, 100.0, 300.0), "logistic": (1.0, 3.0, 10.0)}
_MARGIN: Final = 0.002
_DEARER: Final = 0.002
"""By how much vectors have to be better: each prompt's costs CPU time later on."""
_STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""0 is the zero router."""
_TOLERANCE: Final = 0.005
"""By how much the zero router may be better at the worst budget, in cross-validation."""


@dataclass(frozen=True, slots=True)
class Try:
    """Learners that are averaged, how far they are trusted, what they predict so for held-out
    rows (float32[n, m]), and the score of that."""

    learners: tuple[Learner, ...]
    strength: float
    told: Floats
    score: float

    @property
    def rank(self) -> tuple[float, float]:
        """The average errs least on new data: one learner alone has to be better by a margin, and
        what needs vectors by another. Of all but equals the one that is trusted most."""
        vectors = any("vectors" in one.blocks for one in self.learners)
        behind = _MARGIN * (2 - len(self.learners)) + _DEARER * vectors
        return round(self.score - behind, 4), self.strength


@dataclass(frozen=True, slots=True)
class Found:
    """What cross-validation chose, its score and that of the zero router, and by how much it is
    better than that one at the worst budget."""

    learners: tuple[Learner, ...]
    strength: float
    score: float
    zero: float
    worst: float


@on_one_thread
def train_choice(
    data: Labelled, columns: Sequence[str] = (), seed: int = 0, encoder: Encoder | None = None
) -> ChoiceModel:
    """A model of the data; `columns` are the metadata columns that it may read, and the vectors of
    the encoder are used where they help. Raises ValueError for fewer than 20 rows."""
    if len(data) < LEAST_ROWS:
        raise ValueError(f"{len(data)} judged prompts; at least {LEAST_ROWS} are needed")
    plain = Featurizer.fit(data.prompts, data.metadata, columns, {}, encoder=encoder)
    rows = plain.matrix(data.prompts, data.metadata)
    found = _tuned(Trials.of(plain, rows, data, seed), tagged=bool(columns))
    blocks = found.learners[0].blocks
    if "vectors" not in blocks:
        rows, plain = plain.without_vectors(rows)
    scaled = weighted(plain, rows, blocks)
    times = product(scaled)
    heads = tuple(
        replace(
            learner.fit(times, data.quality, data.weights).head(scaled),
            weight=1 / len(found.learners),
        )
        for learner in found.learners
    )
    return ChoiceModel(
        candidates=data.candidates,
        featurizer=replace(plain, weights=dict(blocks)),
        heads=heads,
        costs=cost_head(scaled[:, plain.text :].toarray(), data),
        base=_means(data),
        strength=found.strength,
        info=_info(data, found, columns, seed) | {"encoder": _name(plain)},
    )


def _tuned(trials: Trials, *, tagged: bool) -> Found:
    """Of each weighting of the blocks the best ridge, the best logistic fit and their average are
    tried, each with more and less trust: the one with the best score that is not worse than the
    zero router at any budget, or, where all are, the one that is so the least."""
    base = _means(trials.data)
    tries = [
        _trusted(trials, averaged, base, strength)
        for blocks in (_TAGS if tagged else _TEXT)
        if trials.has(blocks)
        for averaged in _averaged(trials, blocks)
        for strength in _STRENGTHS
    ]
    zero = trials.score(np.tile(base, (len(trials.data), 1)))
    seen: list[Found] = []
    for one in sorted(tries, key=lambda one: one.rank, reverse=True):
        worst = trials.worst(one.told)
        seen.append(Found(one.learners, one.strength, one.score, zero, worst))
        if worst >= -_TOLERANCE:
            return seen[-1]
    return max(seen, key=lambda one: one.worst)


def _averaged(
    trials: Trials, blocks: Mapping[str, float]
) -> list[tuple[tuple[Learner, ...], Floats]]:
    """The best penalty of each kind, and both together: learners, and what they predict for
    held-out rows."""
    tried = trials.held_out(blocks, _PENALTIES)
    alone = [
        max((one for one in tried if one[0].kind == kind), key=lambda one: trials.score(one[1]))
        for kind in _PENALTIES
    ]
    both = np.asarray(np.mean([told for _, told in alone], axis=0), np.float32)
    return [
        (tuple(learner for learner, _ in alone), both),
        *(((learner,), told) for learner, told in alone),
    ]


def _trusted(
    trials: Trials, averaged: tuple[tuple[Learner, ...], Floats], base: Floats, strength: float
) -> Try:
    learners, told = averaged
    moved = np.asarray(base + np.float32(strength) * (told - base), np.float32)
    return Try(learners, strength, moved, trials.score(moved))


def _means(data: Labelled) -> Floats:
    """float32[m]: each candidate's mean score, weighted; NaN for one that was never judged."""
    known = ~np.isnan(data.quality)
    weights = np.ones(len(data)) if data.weights is None else data.weights
    counted = known * weights[:, None]
    with np.errstate(invalid="ignore"):
        means = np.where(known, data.quality, 0.0) * weights[:, None]
        return np.asarray(means.sum(axis=0) / counted.sum(axis=0), np.float32)


def _name(featurizer: Featurizer) -> str:
    return featurizer.vectors.spec.name if featurizer.vectors else "none"


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
            "worst_budget": round(found.worst, 4),
        },
        "libraries": {
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
