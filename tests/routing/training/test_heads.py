"""Classifiers of words and of vectors are weighed by prompts that neither was trained on."""

import numpy as np
import pytest
from scipy import sparse

from routing.models.intent import softmax
from routing.models.state import Array, Floats
from routing.training.heads import USUAL, Heads, Rows, blend, weigh

DRAWN = np.random.default_rng(0)
TRUTH = DRAWN.integers(0, 4, 400)


def telling(strength: float) -> Floats:
    """Margins of the truth that many standard deviations above the others."""
    noise = DRAWN.normal(size=(TRUTH.size, 4))
    noise[np.arange(TRUTH.size), TRUTH] += strength
    return noise.astype(np.float32)


def surprise(told: Floats) -> float:
    return float(-np.log(softmax(told)[np.arange(TRUTH.size), TRUTH]).mean())


def test_who_knows_more_weighs_more() -> None:
    words, vectors = weigh(np.stack([telling(3), telling(0)]), TRUTH)
    assert words > 5 * vectors
    words, vectors = weigh(np.stack([telling(1), telling(3)]), TRUTH)
    assert vectors > 2 * words


def test_no_other_weights_surprise_much_less() -> None:
    margins = np.stack([telling(2), telling(1.5)])
    found = weigh(margins, TRUTH)
    least = surprise(blend(margins, found))
    for share in (0.5, 0.8, 1.25, 2):
        for place in (0, 1):
            other = found.copy()
            other[place] *= np.float32(share)
            assert surprise(blend(margins, other)) > least - 0.001
    assert min(surprise(margins[0]), surprise(margins[1])) > least


def test_few_prompts_that_are_all_right_leave_the_usual_weights() -> None:
    margins = np.zeros((2, 3, 3), np.float32)
    margins[:, np.arange(3), np.arange(3)] = 5
    assert weigh(margins, np.arange(3)) == pytest.approx(USUAL, rel=0.5)


@pytest.mark.parametrize("intents", [2, 3])
def test_one_classifier_of_all_columns_says_what_both_say_together(intents: int) -> None:
    places: Array = np.arange(30) % intents
    words = sparse.csr_matrix(np.eye(intents, 6, dtype=np.float32)[places])
    vectors = DRAWN.normal(size=(30, 5)).astype(np.float32)
    rows, weights = Rows(words, vectors), np.array([3, 2], np.float32)
    heads = Heads.fit(rows, places, seed=0)
    together = heads.tell(rows).blended(weights)[0]
    columns = np.hstack([words.toarray(), vectors])
    assert heads.blended(weights).apply(columns) == pytest.approx(together, abs=1e-4)
    assert (together.argmax(axis=1) == places).all()
