"""What providers' rate-limit headers come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.rate_headers import Told, read_limits, seconds
from providers.simulator.wire_openai import duration


def headers(limit: str, left: str, reset: str, what: str = "requests") -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": limit,
        f"x-ratelimit-remaining-{what}": left,
        f"x-ratelimit-reset-{what}": reset,
    }


def test_limits_of_a_minute() -> None:
    told = read_limits(
        headers("5000", "4990", "120ms") | headers("2000000", "0", "59.9s", what="tokens")
    )
    assert told == Told(5000, 4990, 2_000_000, 0)


def test_a_days_limit_is_no_minutes_limit() -> None:
    assert read_limits(headers("14400", "14370", "2m59.56s")) == Told()


@pytest.mark.parametrize("odd", ["", "many", "-1", "1e9", "٣", "9" * 40, "9" * 5000 + "h"])
def test_what_cannot_be_read_is_not_said(odd: str) -> None:
    assert read_limits(headers(odd, odd, odd)) == Told()


def test_a_limit_of_zero_is_none() -> None:
    assert read_limits(headers("0", "0", "1s")) == Told(None, 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [("6m0s", 360), ("1h2m3s", 3723), ("12ms", 0.012), ("1.5s", 1.5), ("7", 7), ("1m", 60)],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@given(st.floats(0, 90_000))
def test_durations_of_our_own_simulator_can_be_read(value: float) -> None:
    assert seconds(duration(value)) == pytest.approx(value, abs=0.002)
