"""Token buckets, at times the test chooses."""

import pytest

from providers.simulator.limits import Limiter
from providers.simulator.profile import Limits


def admitted(limiter: Limiter, tokens: int, now: float, tries: int = 10_000) -> int:
    """How many calls of `tokens` pass at one moment."""
    count = 0
    while count < tries and limiter.admit(tokens, now) is None:
        count += 1
    return count


def test_a_burst_and_then_the_rate():
    limiter = Limiter(Limits(rpm=600, burst_s=2.0), now=0.0)
    assert admitted(limiter, 1, 0.0) == 20
    assert sum(admitted(limiter, 1, 0.1 * tick) for tick in range(1, 601)) == 600


def test_the_named_wait_is_long_enough_and_not_longer():
    limiter = Limiter(Limits(tpm=6000, burst_s=1.0), now=0.0)
    assert limiter.admit(80, 0.0) is None
    over = limiter.admit(60, 0.0)
    assert over is not None
    assert (over.kind, over.limit, over.requested) == ("tokens", 6000, 60)
    assert over.wait_s == pytest.approx(0.4)
    assert limiter.admit(60, 0.39) is not None
    assert limiter.admit(60, 0.4) is None


def test_a_refusal_charges_nothing():
    limiter = Limiter(Limits(rpm=60, tpm=600, burst_s=1.0), now=0.0)
    assert limiter.admit(10, 0.0) is None
    assert limiter.requests is not None
    before = limiter.requests.level
    assert limiter.admit(10, 0.5) is not None
    limiter.requests.refill(0.5)
    assert limiter.requests.level == pytest.approx(before + 0.5)
    assert limiter.in_flight == 1


def test_a_call_larger_than_the_burst_goes_into_debt_and_the_rate_holds():
    limiter = Limiter(Limits(tpm=6000, burst_s=1.0), now=0.0)
    assert limiter.admit(500, 0.0) is None
    over = limiter.admit(100, 0.0)
    assert over is not None
    assert over.wait_s == pytest.approx(5.0)
    gauge = limiter.tokens.gauge() if limiter.tokens else None
    assert gauge is not None
    assert gauge.remaining == 0
    assert gauge.reset_s == pytest.approx(5.0)


def test_a_call_above_a_whole_minute_can_never_pass():
    over = Limiter(Limits(tpm=100), now=0.0).admit(101, 0.0)
    assert over is not None
    assert over.wait_s is None


def test_calls_in_flight_are_capped_until_one_ends():
    limiter = Limiter(Limits(in_flight=2), now=0.0)
    assert admitted(limiter, 1, 0.0) == 2
    limiter.release()
    assert admitted(limiter, 1, 0.0) == 1


def test_calls_beyond_the_slots_wait_for_the_first_that_is_free():
    limiter = Limiter(Limits(slots=2), now=0.0)
    assert admitted(limiter, 1, 0.0, tries=5) == 5
    assert [limiter.queue(1.0, 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limiter.queue(1.0, 1.5) == 0.0
    assert limiter.queue(1.0, 1.5) == pytest.approx(0.5)


def test_without_slots_nobody_waits():
    limiter = Limiter(Limits(), now=0.0)
    assert [limiter.queue(1.0, 0.0) for _ in range(3)] == [0.0] * 3


def test_a_slow_limit_still_lets_one_through():
    limiter = Limiter(Limits(rpm=3, burst_s=2.0), now=0.0)
    assert admitted(limiter, 1, 0.0) == 1
    assert admitted(limiter, 1, 19.9) == 0
    assert admitted(limiter, 1, 20.0) == 1
