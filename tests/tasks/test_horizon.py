"""How much is bound ahead: never more than half a minute of what the limits grant, never so little
that a deployment waits for work."""

from dataclasses import replace

import pytest

from core.deployment import Deployment
from core.ports import Buckets
from db.vitals import Vital
from tasks.horizon import LEAST_AHEAD, Mean, ahead_of
from tests.conftest import DEPLOYMENTS

UNKNOWN = Vital("small")
PROMPT = Mean(tokens=500.0, outputs=4096.0)


def limited(*, counts_asked: bool = False, **limits: int) -> Deployment:
    buckets = Buckets("small", **limits)
    return replace(DEPLOYMENTS["small"], buckets=buckets, counts_asked=counts_asked)


@pytest.mark.parametrize(
    ("limits", "requests"),
    [
        ({}, LEAST_AHEAD),
        ({"rpm": 12}, 6),
        # 500 in and about 128 out are 628 of 5,000 in half a minute.
        ({"tpm": 10_000}, 8),
        ({"input_tpm": 10_000}, 10),
        ({"output_tpm": 1_280}, 5),
        ({"rpm": 4, "tpm": 10_000}, 2),
        ({"tpm": 100}, 1),
        ({"tpm": 2_000_000}, LEAST_AHEAD),
    ],
)
def test_half_a_minute_of_the_narrowest_limit(limits: dict[str, int], requests: int) -> None:
    assert ahead_of(limited(**limits), UNKNOWN, PROMPT) == requests


def test_tokens_count_as_the_provider_counts_them() -> None:
    asked, used = limited(tpm=100_000, counts_asked=True), limited(tpm=100_000)
    assert ahead_of(asked, UNKNOWN, PROMPT) == round(50_000 / (500 + 4096))
    assert ahead_of(used, Vital("small", output_tokens=20.0), PROMPT) == round(50_000 / 520)


def test_the_limits_of_its_key_count_as_well() -> None:
    key = Buckets("key:lab", rpm=60, in_flight=1)
    fast = Vital("small", latency_ms=20.0, rate=50.0)
    assert ahead_of(replace(limited(rpm=600), key_buckets=key), UNKNOWN, None) == 30
    assert ahead_of(replace(limited(), key_buckets=key), fast, None) == 30
    tokens = Buckets("key:lab", input_tpm=10_000)
    assert ahead_of(replace(limited(rpm=600), key_buckets=tokens), UNKNOWN, PROMPT) == 10


def test_few_calls_at_once_get_little_until_they_show_that_they_are_fast() -> None:
    one = limited(in_flight=1)
    assert ahead_of(one, UNKNOWN, None) == 40
    assert ahead_of(one, Vital("small", latency_ms=10_000.0, rate=0.1), None) == 4
    assert ahead_of(one, Vital("small", latency_ms=20.0, rate=50.0), None) == 1500


def test_a_slow_deployment_without_limits_gets_less_once_it_is_known() -> None:
    """Sixteen calls at once of ten seconds each; and all that it sends when it turns out to do
    more."""
    free = limited()
    assert ahead_of(free, Vital("small", latency_ms=10_000.0, rate=1.6), None) == 48
    assert ahead_of(free, Vital("small", latency_ms=10_000.0, rate=12.8), None) == 384
    assert ahead_of(free, Vital("small", latency_ms=500.0, rate=0.1), None) == LEAST_AHEAD


def test_there_is_always_something_for_the_next_reply() -> None:
    minutes = Vital("small", latency_ms=120_000.0, rate=0.1)
    assert ahead_of(limited(in_flight=64), minutes, None) >= 2 * 64
