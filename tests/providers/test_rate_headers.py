"""What providers' rate-limit headers come to."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.rate_headers import Told, read_limits, seconds
from providers.simulator.openai_head import duration

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
EPOCH = round(NOW.timestamp())


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


@pytest.mark.parametrize(
    ("limit", "left", "reset"),
    [("14400", "14399", "6s"), ("500000", "499999", "172.8ms"), ("1000", "0", "1d")],
)
def test_a_days_limit_of_which_little_was_used_is_none_either(
    limit: str, left: str, reset: str
) -> None:
    assert read_limits(headers(limit, left, reset)) == Told()


@pytest.mark.parametrize(
    ("limit", "left", "reset"),
    [("500", "499", "120ms"), ("60", "59", "1s"), ("6000", "5895", "1.05s"), ("30", "0", "60s")],
)
def test_a_minutes_limit_of_which_little_was_used_is_one(limit: str, left: str, reset: str) -> None:
    assert read_limits(headers(limit, left, reset)) == Told(int(limit), int(left))


def test_names_that_say_minute() -> None:
    mistral = {
        "x-ratelimit-limit-req-minute": "360",
        "x-ratelimit-remaining-req-minute": "359",
        "x-ratelimit-limit-tokens-minute": "50000",
        "x-ratelimit-remaining-tokens-minute": "49000",
    }
    cerebras = headers("30000", "29000", "58.5", what="tokens-minute")
    days = headers("14400", "14399", "43200.5", what="requests-day")
    assert read_limits(mistral) == Told(360, 359, 50_000, 49_000)
    assert read_limits(cerebras | days) == Told(None, None, 30_000, 29_000)


def test_a_day_and_a_minute_beside_one_another() -> None:
    day = headers("14400", "14370", "2m59.56s")
    assert read_limits(day | headers("30", "29", "2s", what="requests-minute")) == Told(30, 29)


def test_what_is_read_and_what_is_written_apart() -> None:
    fireworks = {
        "x-ratelimit-limit-tokens-prompt": "60000",
        "x-ratelimit-remaining-tokens-prompt": "59000",
        "x-ratelimit-limit-tokens-generated": "6000",
        "x-ratelimit-remaining-tokens-generated": "0",
    }
    told = Told(input=60_000, input_left=59_000, output=6000, output_left=0)
    assert read_limits(fireworks) == told


@pytest.mark.parametrize(("limit", "left"), [("0", "-1"), ("-1", "0"), ("0", "0")])
def test_nothing_is_left_of_no_limit(limit: str, left: str) -> None:
    assert read_limits(headers(limit, left, "1s")) == Told()


def test_what_is_left_counts_without_its_limit() -> None:
    assert read_limits({"x-ratelimit-remaining-requests": "0"}) == Told(None, 0)


@pytest.mark.parametrize("odd", ["", "many", "-1", "1e9", "٣", "9" * 40, "9" * 5000 + "h"])
def test_what_cannot_be_read_is_not_said(odd: str) -> None:
    assert read_limits(headers(odd, odd, odd)) == Told()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("1d2h", 93_600),
        ("12ms", 0.012),
        ("172.8ms", 0.1728),
        ("900µs", 0.0009),
        ("1.5s", 1.5),
        ("7", 7),
        ("1m", 60),
        (f"{EPOCH + 30}", 30),
        (f"{EPOCH + 30}500", 30.5),
        (f"{EPOCH - 30}", 0),
        ("2026-11-26T12:00:30Z", 30),
        ("2026-11-26T13:00:30.5+01:00", 30.5),
        ("2026-11-26T12:00:30", 30),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text, NOW) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "soon", "-1", "2026-13-01T00:00:00Z", None])
def test_what_is_no_duration(text: str | None) -> None:
    assert seconds(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_none(text: str) -> None:
    value = seconds(text)
    assert value is None or value >= 0


@given(st.floats(0, 90_000))
def test_durations_of_our_own_simulator_can_be_read(value: float) -> None:
    assert seconds(duration(value)) == pytest.approx(value, abs=0.002)
