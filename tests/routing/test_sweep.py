import numpy as np
import pytest

from routing.sweep import Sweep, against_zero, budgets

N = 4_000


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chances, outcomes and costs of a cheap and a dear candidate."""
    drawn = np.random.default_rng(seed)
    hard = drawn.random(N) < 0.5
    chance = np.column_stack((np.where(hard, 0.2, 0.9), np.full(N, 0.92)))
    return chance, (drawn.random((N, 2)) < chance).astype(float), np.tile([1.0, 9.0], (N, 1))


def test_budgets_grow_by_one_factor_from_the_cheapest_to_the_dearest() -> None:
    found = budgets(np.tile([1.0, 256.0], (10, 1)))
    assert found == pytest.approx(2.0 ** np.arange(9))
    assert budgets(np.tile([0.0, 1.0], (10, 1))).size == 0


def test_one_who_knows_beats_the_zero_router_at_all_budgets_but_the_ends() -> None:
    chance, quality, cost = world()
    budget = budgets(cost)
    bought = Sweep.of(chance, cost, quality, cost).along(budget)
    told = against_zero(bought, Sweep.singles(quality, cost), budget, np.ones(N))
    assert told[:, 0] == pytest.approx(budget, rel=0.02)
    assert (told[2:8, 3] > 0.02).all()
    assert told[[0, 8], 3] == pytest.approx(0, abs=0.01)


def test_models_whose_predictions_cannot_be_compared_are_pooled_by_budget() -> None:
    chance, quality, cost = world()
    half = [slice(0, N // 2), slice(N // 2, N)]
    timid = [chance[half[0]], 0.5 + 0.1 * (chance[half[1]] - 0.5)]
    parts = [
        Sweep.of(told, cost[rows], quality[rows], cost[rows])
        for told, rows in zip(timid, half, strict=True)
    ]
    whole = Sweep.of(chance, cost, quality, cost)
    ones = np.ones(N)
    pooled = Sweep.pooled(parts).curve(ones).mean(1, 9)
    assert pooled == pytest.approx(whole.curve(ones).mean(1, 9), abs=0.005)
