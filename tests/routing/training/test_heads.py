"""Classifiers of words and of vectors are weighed by prompts that neither was trained on."""

import numpy as np
import pytest
from scipy import sparse

from routing.models.intent import softmax
from routing.models.state import Array, Floats
from routing.training.heads import USUAL, Heads, Rows, Told, blend, crossed, joined, weigh

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
    heads = Heads.fit(rows, places, intents, seed=0)
    together = heads.tell(rows).blended(weights)[0]
    columns = np.hstack([words.toarray(), vectors])
    assert heads.blended(weights).apply(columns) == pytest.approx(together, abs=1e-4)
    assert (together.argmax(axis=1) == places).all()


def test_what_is_said_of_parts_joins_and_comes_apart() -> None:
    margins, distances = DRAWN.normal(size=(2, 6, 3)), DRAWN.normal(size=(6, 3))
    whole = Told(margins, distances, margins[:, :, 0])
    again = joined([whole.take(np.array([0, 1])), whole.take(np.arange(2, 6))])
    assert (again.margins == margins).all()
    assert again.distances is not None
    assert (again.distances == distances).all()
    assert again.strangers is not None
    assert (again.strangers == margins[:, :, 0]).all()


def test_crossing_over_tells_of_rows_in_their_order_without_having_seen_them() -> None:
    places: Array = np.arange(40) % 4  # three intents, and strangers
    rows = Rows(sparse.csr_matrix(np.eye(40, dtype=np.float32)), None)  # each unlike the others
    tested = np.array([7, 0, 39, 20])
    told = crossed(rows, places, 3, tested, seed=1)
    assert told.margins.shape == (1, 4, 3)
    assert told.strangers is not None
    assert told.strangers.shape == (1, 4)
    assert np.ptp(told.margins, axis=1).max() < 0.2, "nothing is known of any"
    known = Heads.fit(rows, places, 3, seed=1).tell(rows.take(tested))
    assert known.strangers is not None
    assert known.strangers[0, [0, 2]].min() > known.strangers[0, [1, 3]].max()
    assert known.margins[0, 1].argmax() == known.margins[0, 3].argmax() == 0
