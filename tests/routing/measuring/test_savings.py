"""What routing was worth: what is said must be what truly would have been."""

import numpy as np
import pytest

from routing.measuring.savings import Did, Sample, calibration, savings


def world(n: int, seed: int = 0, explore: float = 0.0, bias: float = 0.0) -> tuple[Did, np.ndarray]:
    """A router that sends hard requests to `large`; `small` is right in 2 of 10 hard ones and 9
    of 10 others. Predictions are off by `bias`. With it the true scores of all, float64[n, 2]."""
    drawn = np.random.default_rng(seed)
    hard = drawn.random(n) < 0.5
    chance = np.column_stack((np.where(hard, 0.2, 0.9), np.full(n, 0.92)))
    truth = (drawn.random((n, 2)) < chance).astype(np.float64)
    cost = np.tile([0.001, 0.01], (n, 1))
    usual = hard.astype(np.int64)
    lots = drawn.integers(0, 2, n)
    first = np.where(drawn.random(n) < explore, lots, usual)
    propensity = explore / 2 + np.where(first == usual, 1 - explore, 0.0)
    rows = np.arange(n)
    predicted = np.clip(chance + np.array((bias, -bias)), 0, 1)
    did = Did(
        ("small", "large"), truth[rows, first], cost[rows, first], first, predicted, cost.copy(),
        first, propensity,
    )  # fmt: skip
    return did, truth


def test_explored_requests_tell_without_bias_what_predictions_get_wrong() -> None:
    did, truth = world(8000, explore=0.2, bias=0.3)
    measured = savings(did, None, draws=True)
    predicted = savings(did, None, draws=False)
    assert measured is not None
    assert predicted is not None
    assert (measured.basis, predicted.basis) == ("explored", "predicted")
    for column in range(2):
        worth, usd = measured.always[column]
        assert worth.low <= truth[:, column].mean() <= worth.high
        assert usd.value == pytest.approx(did.cost[0, column])
    assert abs(predicted.always[1][0].value - truth[:, 1].mean()) > 0.1
    assert (measured.best, measured.cheapest) == (1, 0)
    assert measured.saved.value == pytest.approx(0.01 - did.paid.mean())
    assert measured.saved_share.low <= measured.saved_share.value <= measured.saved_share.high


def test_a_good_router_is_above_the_mix_of_two_and_saves_against_it() -> None:
    did, truth = world(4000)
    found = savings(did, None, draws=True)
    assert found is not None
    assert found.basis == "predicted"
    assert found.quality.value == pytest.approx(did.score.mean())
    share = did.paid.mean() / 0.01
    mix = truth[:, 0].mean() + (share - 0.1) / 0.9 * (truth[:, 1].mean() - truth[:, 0].mean())
    assert found.mix.value == pytest.approx(mix, abs=0.03)
    assert found.mix_gap.low > 0.05
    assert found.mix_saved.low > 0
    assert found.gap.value == pytest.approx(did.score.mean() - truth[:, 1].mean(), abs=0.03)


def test_a_pilot_is_taken_before_anything_else() -> None:
    did, truth = world(500, bias=0.3)
    sample = Sample(truth[:100], did.cost[:100])
    found = savings(did, sample, draws=True)
    assert found is not None
    assert (found.basis, found.compared) == ("pilot", 100)
    assert found.always[0][0].value == pytest.approx(truth[:100, 0].mean())
    few = savings(did, Sample(truth[:10], did.cost[:10]), draws=True)
    assert few is not None
    assert few.basis == "predicted"


def test_without_scores_quality_is_predicted_and_said_to_be() -> None:
    did, _ = world(300)
    did.score[:] = np.nan
    found = savings(did, None, draws=True)
    assert found is not None
    assert not found.measured
    assert found.quality.value == pytest.approx(
        did.quality[np.arange(300), did.by].mean(), abs=1e-9
    )
    did.quality[:] = np.nan
    assert savings(did, None, draws=True) is None


def test_calibration_sets_scores_beside_predictions() -> None:
    did, _ = world(2000)
    told = did.quality[np.arange(2000), did.by]
    bins = calibration(told, did.score)
    assert sum(one.count for one in bins) == 2000
    for one in bins:
        assert one.measured.low - 0.03 <= one.predicted <= one.measured.high + 0.03
    assert calibration(told[:5], did.score[:5]) == []
