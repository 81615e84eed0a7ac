"""A prompt is strange where no intent is likely, and where no example is near."""

import numpy as np
import pytest

from routing.models.strangeness import LEANING, PULL, Surroundings, strangeness

VECTORS = np.array([[0, 0], [0, 2], [4, 0], [4, 2], [4, 1]], np.float32)
AROUND = Surroundings.of(VECTORS, np.array([0, 0, 1, 1, 1]))


def test_distances_are_counted_in_those_of_the_examples() -> None:
    assert AROUND.means.tolist() == [[0, 1], [4, 1]]
    assert AROUND.usual == pytest.approx((1 + 1 + 1 + 1 + 0) / 3)
    asked = np.array([[0, 1], [4, 5]], np.float32)
    all_ = AROUND.distances(asked)
    assert all_ == pytest.approx(np.array([[0, 16], [32, 16]]) / AROUND.usual)
    assert AROUND.distance(asked, np.array([0, 1])) == pytest.approx([0, 16 / AROUND.usual])


def test_examples_that_are_all_the_same_divide_nothing_by_zero() -> None:
    same = Surroundings.of(np.ones((4, 2), np.float32), np.array([0, 0, 1, 1]))
    assert np.isfinite(same.distances(VECTORS)).all()


def test_the_less_likely_and_the_farther_is_stranger() -> None:
    margins = np.array([[5, 0, 0], [1, 0, 0], [5, 0, 0]], np.float32)
    likely, unlikely, far = strangeness(margins, np.array([1, 1, 3], np.float32))
    assert likely < unlikely
    assert far - likely == pytest.approx(2 * PULL)
    two_fit = strangeness(np.array([[1, 1, 0]], np.float32), np.ones(1, np.float32))[0]
    assert two_fit < unlikely, "either is no stranger's"
    near = np.ones(3, np.float32)
    leaning = strangeness(margins, near, np.array([4, 0, -4], np.float32))
    assert leaning - strangeness(margins, near) == pytest.approx([4 * LEANING, 0, -4 * LEANING])
    assert strangeness(margins).tolist() == [-5, -1, -5]
    assert strangeness(margins[:0]).shape == (0,)
