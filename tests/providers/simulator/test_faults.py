"""Faults: their shares, and that they follow from the seed alone."""

import random
from collections import Counter

import pytest

from providers.simulator.faults import FaultDice
from providers.simulator.profile import Faults, Latency, Outage

FAULTS = Faults(p_429=0.1, p_500=0.05, p_reset=0.1, p_hang=0.02, reset_billed=0.25)


def test_the_same_call_meets_the_same_fate_in_any_order():
    calls = [(f"q{number}", nth) for number in range(300) for nth in (1, 2, 3)]
    first = FaultDice(7, "lab", FAULTS, Latency())
    known = {call: first.roll(*call) for call in calls}
    random.Random(1).shuffle(calls)
    again = FaultDice(7, "lab", FAULTS, Latency())
    assert all(again.roll(*call) == known[call] for call in calls)


def test_seed_provider_id_and_call_number_each_matter():
    def kinds(seed: int, provider: str, nth: int) -> list[str]:
        dice = FaultDice(seed, provider, FAULTS, Latency())
        return [dice.roll(f"q{number}", nth).kind for number in range(200)]

    variants = [kinds(7, "lab", 1), kinds(8, "lab", 1), kinds(7, "b", 1), kinds(7, "lab", 2)]
    assert len({tuple(one) for one in variants}) == 4


def test_shares_are_met():
    dice = FaultDice(1, "lab", FAULTS, Latency())
    draws = [dice.roll(f"q{number}", 1) for number in range(20_000)]
    count = Counter(draw.kind for draw in draws)
    assert count["429"] == pytest.approx(2000, rel=0.1)
    assert count["500"] == pytest.approx(1000, rel=0.15)
    assert count["hang"] == pytest.approx(400, rel=0.2)
    assert count["503"] == 0
    billed = sum(draw.billed for draw in draws if draw.kind == "reset")
    assert billed == pytest.approx(count["reset"] * 0.25, rel=0.15)


def test_lognormal_latency_has_its_median_and_spread():
    dice = FaultDice(1, "lab", Faults(), Latency(kind="lognormal", ms=100, sigma=0.5))
    times = sorted(dice.latency_s(dice.roll(f"q{n}", 1), 0) for n in range(20_001))
    assert times[10_000] == pytest.approx(0.1, rel=0.03)
    assert times[int(20_001 * 0.8413)] == pytest.approx(0.1 * 2.718281828**0.5, rel=0.05)


def test_slow_calls_and_long_answers_take_longer():
    dice = FaultDice(
        1, "lab", Faults(p_slow=1, slow_factor=4), Latency(ms=10, per_output_token_ms=2)
    )
    assert dice.latency_s(dice.roll("q", 1), 5) == pytest.approx(0.08)


def test_an_outage_is_a_half_open_window():
    faults = Faults(outages=(Outage(start_s=10, duration_s=60), Outage(start_s=100, duration_s=1)))
    dice = FaultDice(1, "lab", faults, Latency())
    assert [bool(dice.outage(at)) for at in (9.9, 10, 69.9, 70, 100, 101)] == [
        False, True, True, False, True, False,
    ]  # fmt: skip
