"""Training a model for choice on judged prompts."""

import sys
from collections.abc import Sequence

import numpy as np
import scipy
import sklearn
from scipy import sparse
from sklearn.linear_model import Ridge

from routing.choice_model import ChoiceModel, CostHead, Head
from routing.features import Featurizer
from routing.labelled import Labelled
from routing.model_state import Floats

LEAST_ROWS = 20


def train_choice(data: Labelled, columns: Sequence[str] = (), seed: int = 0) -> ChoiceModel:
    """A model of the data; `columns` are the metadata columns that it may read. Raises
    ValueError for fewer than 20 rows."""
    if len(data) < LEAST_ROWS:
        raise ValueError(f"{len(data)} judged prompts; at least {LEAST_ROWS} are needed")
    featurizer = Featurizer.fit(data.prompts, data.metadata, columns, {"shape": 0.1, "tags": 0.3})
    rows = featurizer.matrix(data.prompts, data.metadata)
    head = _head(rows, data.quality)
    return ChoiceModel(
        candidates=data.candidates,
        featurizer=featurizer,
        heads=(head,),
        costs=_cost_head(rows, featurizer, data),
        base=np.nanmean(data.quality, axis=0),
        strength=1.0,
        info={
            "rows": len(data),
            "costs": data.costs,
            "seed": seed,
            "libraries": _libraries(),
        },
    )


def _head(rows: sparse.csr_matrix, quality: Floats) -> Head:
    slopes = np.zeros((rows.shape[1], quality.shape[1]), np.float32)
    level = np.zeros(quality.shape[1], np.float32)
    for place in range(quality.shape[1]):
        known = np.flatnonzero(~np.isnan(quality[:, place]))
        fitted = Ridge(alpha=10.0, solver="sparse_cg", tol=1e-3)
        fitted.fit(rows[known], quality[known, place])
        slopes[:, place], level[place] = fitted.coef_, fitted.intercept_
    return Head(slopes, level, "identity", 1.0)


def _cost_head(rows: sparse.csr_matrix, featurizer: Featurizer, data: Labelled) -> CostHead:
    """Least squares on ln(cost) over shape and tags."""
    text = featurizer.words.bucket.size + featurizer.runs.bucket.size
    last = rows[:, text:].toarray()
    many = len(data.candidates)
    slopes, level = np.zeros((last.shape[1], many), np.float32), np.zeros(many, np.float32)
    factor, least, most = np.ones((3, many), np.float32)
    for place in range(many):
        cost = data.cost[:, place]
        known = np.flatnonzero(~np.isnan(cost))
        least[place], most[place] = cost[known].min(), cost[known].max()
        if least[place] == most[place] or not known.size:
            level[place] = np.log(max(most[place], 1e-12))
            continue
        floor = max(cost[known][cost[known] > 0].min() / 2, 1e-12)
        target = np.log(np.maximum(cost[known], floor))
        fitted = Ridge(alpha=0.1).fit(last[known], target)
        slopes[:, place], level[place] = fitted.coef_, fitted.intercept_
        told = np.clip(np.exp(fitted.predict(last[known])), least[place], most[place])
        factor[place] = cost[known].sum() / told.sum()
    return CostHead(slopes, level, factor, least, most)


def _libraries() -> dict[str, str]:
    return {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }
