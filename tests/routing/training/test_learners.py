"""Fits by rows are those that a library makes by features."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from routing.training.gram import gram
from routing.training.learners import logistic, product, ridge

ROWS, OTHERS = 120, 30
PENALTIES = (3.0, 30.0)


def texts(seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Rows of which some features are in many and most in few, and scores of two candidates with
    gaps; the second one's are fractions."""
    drawn = np.random.default_rng(seed)
    share = np.concatenate((np.full(5, 0.6), np.full(300, 0.02)))
    rows = (drawn.random((ROWS + OTHERS, share.size)) < share) * drawn.random(share.size)
    told = rows @ drawn.normal(size=share.size)
    right = told + drawn.normal(size=len(told)) > np.median(told)
    quality = np.column_stack((right, drawn.random(len(told)))).astype(np.float32)
    quality[drawn.random(quality.shape) < 0.1] = np.nan
    return sparse.csr_matrix(rows.astype(np.float32)), quality


def test_products_of_rows_are_those_of_a_dense_matrix() -> None:
    rows, _ = texts()
    dense = rows.toarray()
    assert gram(rows) == pytest.approx(dense @ dense.T, abs=1e-5)


def test_ridge_is_that_of_scikit_learn_with_gaps_and_weights() -> None:
    rows, quality = texts()
    alike = gram(rows)
    weights = np.random.default_rng(1).uniform(1, 20, ROWS).astype(np.float32)
    fitted = ridge(alike[:ROWS, :ROWS].__matmul__, quality[:ROWS], PENALTIES, weights)
    told = fitted.told(alike[ROWS:, :ROWS]).reshape(OTHERS, len(PENALTIES), 2)
    for place, penalty in enumerate(PENALTIES):
        for column in range(2):
            known = np.flatnonzero(~np.isnan(quality[:ROWS, column]))
            theirs = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-6)
            theirs.fit(rows[known], quality[known, column], weights[known])
            assert told[:, place, column] == pytest.approx(theirs.predict(rows[ROWS:]), abs=0.01)


def test_logistic_fit_is_that_of_scikit_learn() -> None:
    rows, quality = texts()
    alike = gram(rows)
    fitted = logistic(alike[:ROWS, :ROWS].__matmul__, quality[:ROWS], PENALTIES)
    told = fitted.told(alike[ROWS:, :ROWS]).reshape(OTHERS, len(PENALTIES), 2)
    known = np.flatnonzero(~np.isnan(quality[:ROWS, 0]))
    for place, penalty in enumerate(PENALTIES):
        theirs = LogisticRegression(C=1 / penalty, tol=1e-6, max_iter=2000)
        theirs.fit(rows[known], quality[known, 0] > 0.5)
        assert told[:, place, 0] == pytest.approx(theirs.predict_proba(rows[ROWS:])[:, 1], abs=0.01)


def test_a_head_tells_what_the_fit_does_and_many_rows_are_fitted_alike() -> None:
    rows, quality = texts()
    alike = gram(rows)
    by_products = logistic(alike[:ROWS, :ROWS].__matmul__, quality[:ROWS], (3.0,))
    by_rows = logistic(product(rows[:ROWS]), quality[:ROWS], (3.0,))
    told = by_products.told(alike[ROWS:, :ROWS])
    assert by_rows.head(rows[:ROWS]).apply(rows[ROWS:]) == pytest.approx(told, abs=1e-3)


@pytest.mark.parametrize("score", [0.0, 1.0, np.nan])
def test_a_candidate_that_is_always_right_or_never_judged_does_no_harm(score: float) -> None:
    rows, quality = texts()
    quality[:, 1] = score
    alike = gram(rows)[:ROWS, :ROWS]
    for fit in (ridge, logistic):
        told = fit(alike.__matmul__, quality[:ROWS], (3.0,)).told(alike)
        assert np.isfinite(told).all()
        if score == score:
            assert told[:, 1] == pytest.approx(score, abs=0.01)
