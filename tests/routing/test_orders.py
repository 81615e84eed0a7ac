"""Predictions put the candidates in order."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from core.money import Price
from core.router import RouterSettings
from routing.batch.packing import pack, pack_usd, spread, unpack, unpack_usd
from routing.orders import Orders, Seen, costs_now, order
from routing.threshold import chosen, price_for_cost, price_for_quality

NAMES = ("large", "mini", "small")
RNG = np.random.default_rng(0)
HARD = RNG.random(400).astype(np.float32)
# The harder, the more the cheap ones fall behind.
QUALITY = np.stack([0.95 - 0.1 * HARD, 0.93 - 0.4 * HARD, 0.9 - 0.8 * HARD], axis=1)
COST = np.tile(np.float32([0.01, 0.002, 0.0005]), (400, 1))
SEEN = Seen(NAMES, QUALITY, COST, QUALITY.mean(axis=0))


def ordered(choose: str, seen: Seen = SEEN, **router: Any) -> Orders:
    settings = RouterSettings(model="tickets", **router)
    return order(choose, settings, seen, seed=7)


def reached(orders: Orders) -> tuple[float, float]:
    """Mean quality and dollars a call."""
    first = [columns[0] for columns in orders.order]
    rows = np.arange(len(first))
    return float(QUALITY[rows, first].mean()), float(COST[rows, first].mean())


def test_fixed_is_the_best_on_the_whole() -> None:
    assert set(ordered("fixed").order) == {(0, 1, 2)}


def test_a_quality_is_reached_at_the_least_cost() -> None:
    orders = ordered("threshold", quality=0.8)
    quality, cost = reached(orders)
    assert 0.8 <= quality < 0.805
    # A mix of two single candidates of the same quality costs more.
    share = (quality - QUALITY[:, 2].mean()) / (QUALITY[:, 0].mean() - QUALITY[:, 2].mean())
    assert cost < share * 0.01 + (1 - share) * 0.0005
    assert orders.price is not None
    assert orders.price > 0


def test_without_an_aim_it_is_as_good_as_the_best_single_one_for_less() -> None:
    unlike = QUALITY.copy()
    unlike[:200, 2] = 0.97
    seen = Seen(NAMES, unlike, COST, unlike.mean(axis=0))
    first = [columns[0] for columns in ordered("threshold", seen).order]
    rows = np.arange(400)
    assert unlike[rows, first].mean() == pytest.approx(float(unlike[:, 0].mean()), abs=0.005)
    assert COST[rows, first].mean() < 0.007


def test_a_cost_is_kept_at_the_best_quality() -> None:
    quality, cost = reached(ordered("threshold", usd_per_1k=3))
    assert 0.0025 < cost <= 0.003
    assert quality > QUALITY[:, 1].mean()


def test_what_cannot_be_reached_is_approached() -> None:
    assert {columns[0] for columns in ordered("threshold", quality=1).order} == {0}
    assert {columns[0] for columns in ordered("threshold", usd_per_1k=0.001).order} == {2}
    assert price_for_quality(QUALITY, COST, 0.1) > price_for_quality(QUALITY, COST, 0.8)
    assert price_for_cost(QUALITY, COST, 1.0) == 0


def test_few_plans_come_of_many_requests() -> None:
    assert len(set(ordered("threshold", quality=0.8, explore=0.3).order)) <= len(NAMES)


def test_a_cascade_begins_with_the_cheap_ones() -> None:
    assert set(ordered("cascade").order) == {(2, 1, 0)}


def test_a_trained_cascade_asks_its_own_steps_and_nobody_else() -> None:
    two = replace(SEEN, steps=(1, 0))
    assert set(ordered("cascade", two).order) == {(1, 0)}
    # Whoever is drawn to explore answers; where it is a step, those above it follow.
    orders = ordered("cascade", replace(SEEN, steps=(2, 1, 0)), explore=0.3)
    assert set(orders.order) == {(2, 1, 0), (1, 0), (0,)}
    assert set(ordered("cascade", two, explore=0.3).order) == {(1, 0), (2,), (0,)}


def test_who_cannot_have_a_request_is_not_chosen_for_it() -> None:
    quality = QUALITY.copy()
    quality[:200, 0] = np.nan
    seen = Seen(NAMES, quality, COST, SEEN.base)
    orders = ordered("threshold", seen, quality=1, explore=0.5)
    assert all(columns[0] != 0 for columns in orders.order[:200])
    assert any(columns[0] == 0 for columns in orders.order[200:])
    assert chosen(np.full((1, 3), np.nan, np.float32), COST[:1], 0.0).tolist() == [2]


def test_a_share_goes_to_candidates_drawn_by_lot_with_its_propensity() -> None:
    many = Seen(NAMES, np.tile(QUALITY, (10, 1)), np.tile(COST, (10, 1)), SEEN.base)
    orders = ordered("fixed", many, explore=0.3)
    first = np.array([columns[0] for columns in orders.order])
    assert orders.explored.mean() == pytest.approx(0.3, abs=0.03)
    for column in range(3):
        share = float((first == column).mean())
        told = orders.propensity[first == column]
        assert share == pytest.approx(float(told[0]), abs=0.03)
        assert len(set(told.tolist())) == 1
    again = ordered("fixed", many, explore=0.3)
    assert again.order == orders.order


def test_costs_follow_the_prices_of_today() -> None:
    """Trained at 1 and 2 dollars a million: a predicted cent with 1,000 tokens in is 4,500 out."""
    tokens, limits = np.float32([1000, 1000]), np.float32([10_000, 2_000])
    trained = np.float32([[0.01, 0.01, np.nan], [0.01, 0.01, np.nan]])
    now = {
        "large": Price(Decimal(2), Decimal(4)),
        "mini": None,
        "small": Price(Decimal(1), Decimal(1)),
    }
    costs = costs_now(trained, NAMES, tokens, limits, {"large": [1.0, 2.0]}, now)
    assert costs[:, 0] == pytest.approx([0.02, 0.01])
    assert costs[:, 1] == pytest.approx([0.01, 0.01])
    assert costs[:, 2] == pytest.approx([0.001256, 0.001256])


def test_what_is_packed_comes_back_to_three_digits() -> None:
    values = np.float32([[0.5, np.nan], [0.123, 1]])
    assert unpack(pack(values), 2) == pytest.approx(values, rel=1e-3, nan_ok=True)
    costs = np.float32([[2e-7, 40.0], [0.0123, 500.0]])
    told = unpack_usd(pack_usd(costs), 2)
    assert told[:, 0] == pytest.approx(costs[:, 0], rel=1e-3)
    assert told[0, 1] == pytest.approx(40, rel=1e-3)
    assert told[1, 1] == pytest.approx(65.5, rel=1e-2)
    wide = spread(values, ["b", "d"], ["a", "b", "c", "d"])
    assert wide[1] == pytest.approx([np.nan, 0.123, np.nan, 1], nan_ok=True)
