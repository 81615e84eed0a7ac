"""The whole batch as one decision: the best that fits, and never a limit passed."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from routing.batch.allocation import Allocation, Capacity, DoesNotFitError, allocate

PRICES = np.array([1e-4, 1e-3, 4e-3])


def drawn(n: int, seed: int, m: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    ease = rng.random((n, 1))
    quality = np.clip(ease + np.linspace(0, 0.5, m) + rng.normal(0, 0.2, (n, m)), 0, 1)
    cost = np.geomspace(1e-4, 4e-3, m) * rng.lognormal(0, 0.6, (n, 1))
    return quality.astype(np.float32), cost.astype(np.float32)


def spend(found: Allocation, cost: NDArray[np.float32]) -> float:
    return float(cost[np.arange(len(cost)), found.choice].sum(dtype=np.float64))


@st.composite
def problems(draw: st.DrawFn) -> dict[str, object]:
    """A problem that has an answer: its limits are those of an assignment drawn by lot."""
    n = draw(st.integers(1, 60) | st.sampled_from([300, 1_500]))
    m = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    quality, cost = drawn(n, draw(st.integers(0, 99)), m)
    if draw(st.booleans()):
        # As where only a few tags are known: most requests look the same.
        kinds = rng.integers(0, min(n, 2), n)
        quality, cost = quality[kinds], cost[kinds]
    feasible = rng.random((n, m)) < draw(st.sampled_from([0.4, 1.0]))
    some = rng.integers(0, m, n)
    feasible[np.arange(n), some] = True
    tokens = rng.integers(1, 500, n)
    room = draw(st.sampled_from([1.0, 1.1, 3.0]))
    calls = np.ceil(np.bincount(some, minlength=m) * room)
    counted = np.bincount(some, weights=tokens, minlength=m) * room
    used = float(cost[np.arange(n), some].sum(dtype=np.float64))
    return {
        "quality": quality,
        "cost": cost,
        "budget": used * room if draw(st.booleans()) else None,
        "capacity": Capacity(
            calls if draw(st.booleans()) else (), counted if draw(st.booleans()) else ()
        ),
        "tokens": tokens,
        "feasible": feasible,
    }


@settings(max_examples=40, deadline=None)
@given(problems())
def test_no_limit_is_ever_passed_and_the_answer_is_always_the_same(problem: dict) -> None:
    try:
        found = allocate(**problem)
    except DoesNotFitError:
        # Whole requests may not fit where fractions of them do, but only with nothing to spare.
        capacity = problem["capacity"]
        assert len(capacity.tokens)
        return
    n, m = problem["quality"].shape
    assert problem["feasible"][np.arange(n), found.choice].all()
    if problem["budget"] is not None:
        assert spend(found, problem["cost"]) <= problem["budget"] * (1 + 1e-9)
    if len(problem["capacity"].calls):
        assert (found.counts <= problem["capacity"].calls).all()
    used = np.bincount(found.choice, weights=problem["tokens"], minlength=m)
    if len(problem["capacity"].tokens):
        assert (used <= problem["capacity"].tokens * (1 + 1e-9)).all()
    again = allocate(**problem)
    assert (again.choice == found.choice).all()
    assert again.price == found.price


def best_of_all(quality, cost, budget, calls) -> float:
    """By looking at every assignment there is."""
    n, m = quality.shape
    best = -1.0
    for choice in itertools.product(range(m), repeat=n):
        at = np.array(choice)
        if (np.bincount(at, minlength=m) <= calls).all() and (
            cost[np.arange(n), at].sum() <= budget
        ):
            best = max(best, float(quality[np.arange(n), at].mean()))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_a_few_requests_are_assigned_nearly_as_well_as_can_be(seed: int) -> None:
    quality, cost = drawn(8, seed)
    budget, calls = float(cost[:, 1].sum() * 1.2), np.array([5, 4, 3])
    found = allocate(quality, cost, budget=budget, capacity=Capacity(calls))
    best = best_of_all(quality.astype(float), cost.astype(float), budget, calls)
    assert best - found.quality <= quality.max() / len(quality) / 4


def test_the_budget_is_spent_where_it_brings_most() -> None:
    quality, cost = drawn(5_000, 1)
    budget = float(cost[:, 1].sum())
    found = allocate(quality, cost, budget=budget)
    assert 0.9999 * budget <= found.spend <= budget
    # At the price, nobody would rather have another candidate.
    worth = quality - found.price * cost
    regret = worth.max(axis=1) - worth[np.arange(5_000), found.choice]
    assert (regret > 1e-3).sum() <= 2
    assert found.quality > quality[:, 1].mean()


def test_a_quality_is_reached_at_the_least_cost() -> None:
    quality, cost = drawn(5_000, 2)
    aim = float(quality.mean(axis=0)[1])
    found = allocate(quality, cost, least_quality=aim)
    assert aim <= found.quality <= aim + 1e-3
    assert found.spend < cost[:, 1].sum()
    # The same problem seen from the other side.
    other = allocate(quality, cost, budget=found.spend)
    assert other.quality == pytest.approx(found.quality, abs=1e-4)
    assert other.price == pytest.approx(found.price, rel=0.05)


def test_requests_that_look_the_same_are_mixed() -> None:
    quality = np.tile(np.array([[0.5, 0.9]], np.float32), (20_000, 1))
    cost = np.tile(np.array([[0.001, 0.01]], np.float32), (20_000, 1))
    found = allocate(quality, cost, budget=0.0055 * 20_000)
    assert found.counts.tolist() == pytest.approx([10_000, 10_000], abs=2)
    assert found.price == pytest.approx(0.4 / 0.009, rel=0.01)


def test_a_capacity_that_binds_has_a_price_and_one_that_does_not_has_none() -> None:
    quality, cost = drawn(5_000, 3)
    found = allocate(quality, cost, capacity=Capacity([5_000, 5_000, 1_000]))
    assert found.counts[2] == 1_000
    assert found.call_prices[2] > 0.01
    assert found.call_prices[0] == pytest.approx(0, abs=1e-6)
    assert found.price == pytest.approx(0, abs=1e-6)


def test_what_is_not_known_is_not_chosen() -> None:
    quality, cost = drawn(500, 4)
    quality[:, 2] = np.nan
    assert allocate(quality, cost, budget=100.0).counts[2] == 0


def test_no_requests_cost_nothing() -> None:
    found = allocate(np.zeros((0, 2)), np.zeros((0, 2)), budget=0.0)
    assert (len(found.choice), found.spend) == (0, 0.0)


@pytest.mark.parametrize(
    ("limits", "constraint", "says"),
    [
        ({"budget": 0.01}, "budget", "more is needed"),
        ({"least_quality": 0.999}, "quality", "is the best that can be had"),
        ({"capacity": Capacity([10, 10, 10])}, "calls", "all candidates can take 30 calls"),
        ({"feasible": np.zeros((500, 3), bool)}, "candidates", "500 requests have no candidate"),
        ({"least_quality": 0.5, "budget": 0.01}, "budget", "more is needed"),
    ],
)
def test_what_does_not_fit_is_named_with_by_how_much(limits, constraint, says) -> None:
    quality, cost = drawn(500, 5)
    with pytest.raises(DoesNotFitError, match=says) as told:
        allocate(quality, cost, **limits)
    assert told.value.constraint == constraint


def test_capacities_that_only_fit_without_the_mask_are_named() -> None:
    quality, cost = drawn(500, 6)
    feasible = np.ones((500, 3), bool)
    feasible[:300, 1:] = False
    with pytest.raises(DoesNotFitError, match=r"candidate 0 can take 100 calls, and about 300"):
        allocate(quality, cost, capacity=Capacity([100, 500, 500]), feasible=feasible)


def test_a_budget_and_capacities_that_only_fit_apart_are_told() -> None:
    quality, cost = drawn(500, 7)
    budget = float(cost[:, 0].sum() * 1.5)
    allocate(quality, cost, budget=budget)
    allocate(quality, cost, capacity=Capacity([50, 500, 500]))
    with pytest.raises(DoesNotFitError):
        allocate(quality, cost, budget=budget, capacity=Capacity([50, 500, 500]))


def test_what_is_as_good_and_cheaper_wins() -> None:
    """Also where there is money enough for the dearest, and nothing to tell candidates apart."""
    cost = np.tile(PRICES, (200, 1))
    for quality in (np.zeros((200, 3)), np.full((200, 3), 0.8)):
        found = allocate(quality, cost, budget=100.0)
        assert found.counts.tolist() == [200, 0, 0]
    better = np.tile([0.80, 0.81, 0.81], (200, 1))
    assert allocate(better, cost, budget=100.0).counts.tolist() == [0, 200, 0]
    better[:, 0] = 0.5
    same = np.full((200, 3), 1e-3)
    assert allocate(better, same, least_quality=0.4).counts[0] == 0


def test_a_budget_of_just_the_least_cost_is_enough() -> None:
    """Also where a little more would bring much: costs nearly the same, qualities far apart."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        cost = rng.uniform(1e-5, 1e-2, (1, 2)).astype(np.float32)
        cost[0, 1] = cost[0, 0] * np.float32(rng.choice([1.0005, 1.005, 3.0]))
        found = allocate(np.array([[0.1, 0.9]]), cost, budget=float(cost[0, 0]))
        assert found.choice.tolist() == [0]
