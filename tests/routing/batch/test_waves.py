"""Waves one after another: whom money reaches that does not reach for all."""

import numpy as np
import pytest

from routing.batch.waves import Aim, Left, Money, plan_wave, wave_size


def answered(left: Left, dollars: float) -> int:
    """How many requests are answered, at what is expected, wave by wave."""
    n, waits, spent = len(left.quality), np.arange(len(left.quality)), 0.0
    while len(waits):
        money = Money(dollars - spent, dollars - spent)
        wave = plan_wave(left.part(waits), money, Aim(), wave_size(n, len(waits)))
        if not len(wave.rows):
            break
        cost = left.cost[waits[wave.rows], wave.choice[wave.rows]]
        bounds = left.bounds[waits[wave.rows], wave.choice[wave.rows]]
        # Each is sent when its bound has room beside what those before it have cost.
        assert (spent + np.cumsum(cost) - cost + bounds <= dollars * (1 + 1e-9)).all()
        spent += float(cost.sum())
        waits = np.delete(waits, wave.rows)
    return n - len(waits)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("loose", [1.0, 3.0])
@pytest.mark.parametrize("n", [300, 3_000])
def test_money_for_some_answers_as_many_as_it_can(n: int, loose: float, share: float) -> None:
    rng = np.random.default_rng(n)
    cost = rng.lognormal(0, 0.8, (n, 1)) * np.array([1e-4, 3e-4, 1e-3])
    left = Left(np.sort(rng.random((n, 3)), axis=1), cost, cost * loose)
    least = np.sort(cost[:, 0])
    dollars = share * float(least.sum())
    possible = int((np.cumsum(least) <= dollars).sum())
    # The last ones' bounds have no room.
    assert possible - 4 <= answered(left, dollars) <= possible
