"""The threshold finds strangers and keeps customers."""

import numpy as np
import pytest

from routing.training.out_of_scope import LOST, MOST_LOST, Seen, figures, threshold


def seen(strange: list[float], outside: list[float], wrong: int = 0) -> Seen:
    right = np.arange(len(strange)) < len(strange) - wrong
    return Seen(right, np.array(strange, np.float32), np.array(outside, np.float32))


def test_without_strangers_a_small_share_of_the_customers_is_lost() -> None:
    many = seen([*range(1000)], [])
    found = figures(many, threshold(many))
    assert found["lost"] == pytest.approx(LOST, abs=0.002)
    assert "out_of_scope_found" not in found


def test_it_lies_between_customers_and_strangers_that_lie_apart() -> None:
    apart = seen([0, 1, 2, 3], [8, 9])
    assert threshold(apart) == 5.5
    told = figures(apart, 5.5)
    assert (told["lost"], told["kept_and_right"], told["out_of_scope_found"]) == (0, 1, 1)


def test_who_is_named_wrongly_is_no_loss() -> None:
    assert threshold(seen([0, 1, 2, 3, 4, 9], [8, 10, 10, 10], wrong=1)) == 6


def test_strangers_like_customers_cost_no_more_than_a_fifth_of_these() -> None:
    alike = seen([*range(100)], [*range(40, 80)])
    assert figures(alike, threshold(alike))["lost"] <= MOST_LOST
