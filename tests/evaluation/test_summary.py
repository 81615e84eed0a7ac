"""How far a mean can be trusted."""

import numpy as np
import pytest

from evaluation.summary import mean_of


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_interval_holds_as_often_as_it_says(share: float) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.binomial(80, share, 4000)
    held = 0
    for right in drawn.tolist():
        told = mean_of(80, right, right)
        held += told.low <= share <= told.high
    assert held / 4000 > 0.93


def test_it_stays_between_nothing_and_all() -> None:
    none, every = mean_of(10, 0, 0), mean_of(10, 10, 10)
    assert (none.low, every.high) == (0, pytest.approx(1))
    assert none.high == pytest.approx(0.278, abs=0.001)
    assert every.low == pytest.approx(0.722, abs=0.001)


def test_fractions_that_vary_less_are_known_better() -> None:
    told = mean_of(100, 50, 25 * (0.25 + 0.36 + 0.16 + 0.25))
    coin = mean_of(100, 50, 50)
    assert told.mean == coin.mean == 0.5
    assert told.high - told.low < 0.2 * (coin.high - coin.low)
    assert told.told.startswith("0.500 (0.4")


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no score"):
        mean_of(0, 0, 0)
