"""When a deployment is closed, and when it opens again."""

import pytest

from core.status import Cause, DeploymentStatus
from providers.errors import ErrorClass, ProviderError, classify
from tasks.breaker import (
    DRY_CALLS,
    DRY_SPELL,
    LEAST_CALLS,
    REFUSED_CONNECTIONS,
    REFUSED_KEYS,
    WINDOW,
    Breaker,
    Verdict,
)

FAILURES = (
    ErrorClass.OVERLOADED,
    ErrorClass.TRANSIENT,
    ErrorClass.UNKNOWN,
    ErrorClass.MALFORMED,
)
ANSWERS = (
    None,
    ErrorClass.TOO_LONG,
    ErrorClass.REFUSED,
    ErrorClass.BAD_REQUEST,
    ErrorClass.REJECTED,
)


def error(leaf: ErrorClass | None, status: int | None = 503) -> ProviderError | None:
    return None if leaf is None else ProviderError(leaf, status, "code", "no room")


def feed(
    breaker: Breaker, leaves: list[ErrorClass | None], *, begin: float = 0.0, step: float = 0.01
) -> Verdict | None:
    """The first verdict on calls that end one after another."""
    for number, leaf in enumerate(leaves):
        verdict = breaker.saw(error(leaf), begin + number * step)
        if verdict is not None:
            return verdict
    return None


@pytest.mark.parametrize("leaf", FAILURES)
def test_half_of_ten_calls_failing_closes(leaf: ErrorClass) -> None:
    verdict = feed(Breaker(), [None, leaf] * (LEAST_CALLS // 2))
    assert verdict is not None
    assert (verdict.status, verdict.cause) == (DeploymentStatus.COOLING, Cause.FAILURES)
    assert verdict.reason == "5 of 10 calls failed, the last: HTTP 503, no room"


@pytest.mark.parametrize("leaf", FAILURES)
def test_fewer_failures_or_fewer_calls_do_not(leaf: ErrorClass) -> None:
    assert feed(Breaker(), [None, None, leaf] * 100) is None
    assert feed(Breaker(), [ErrorClass.OVERLOADED] * (LEAST_CALLS - 1)) is None


def test_what_is_long_ago_does_not_count() -> None:
    breaker = Breaker()
    assert feed(breaker, [ErrorClass.OVERLOADED] * (LEAST_CALLS - 1)) is None
    assert feed(breaker, [ErrorClass.OVERLOADED], begin=WINDOW + 10) is None


@pytest.mark.parametrize("answer", ANSWERS)
def test_refused_connections_close_fast_unless_something_answers(
    answer: ErrorClass | None,
) -> None:
    refused: list[ErrorClass | None] = [ErrorClass.TRANSIENT]
    verdict = feed(Breaker(), refused * REFUSED_CONNECTIONS)
    assert verdict is not None
    assert verdict.cause is Cause.FAILURES
    assert feed(Breaker(), [*refused * (REFUSED_CONNECTIONS - 1), answer, *refused]) is None


def test_nothing_but_429s_closes_after_a_while() -> None:
    dry: list[ErrorClass | None] = [ErrorClass.THROTTLED] * (DRY_CALLS + 1)
    step = DRY_SPELL / DRY_CALLS
    verdict = feed(Breaker(), dry, step=step)
    assert verdict is not None
    assert (verdict.cause, verdict.reason) == (Cause.THROTTLED, "nothing but 429s for 10 s")
    # A storm that is over at once, or one with answers in between, is the limiter's.
    assert feed(Breaker(), dry * 10, step=0.001) is None
    assert feed(Breaker(), [*dry[:6], None] * 20, step=step) is None


def test_a_key_that_is_refused_again_and_again_is_closed_until_an_operator_comes() -> None:
    dead: list[ErrorClass | None] = [ErrorClass.CREDENTIAL_DEAD]
    assert feed(Breaker(), [*dead * (REFUSED_KEYS - 1), None] * 5) is None
    breaker = Breaker()
    for _ in range(REFUSED_KEYS - 1):
        assert breaker.saw(error(ErrorClass.CREDENTIAL_DEAD, 401), 0.0) is None
    verdict = breaker.saw(error(ErrorClass.CREDENTIAL_DEAD, 401), 0.0)
    assert verdict is not None
    assert (verdict.status, verdict.cause) == (DeploymentStatus.DISABLED, Cause.KEY)
    assert verdict.reason == "its key was refused: HTTP 401, no room"
    assert verdict.whole_key


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, "its key was refused"),
        (404, "its model or address is not there"),
        (405, "its model or address is not there"),
        (308, "its model or address is not there"),
        (400, "its model or address is not there"),
    ],
)
def test_a_403_and_what_is_not_there_mean_this_model_alone(status: int, told: str) -> None:
    breaker = Breaker()
    body = b'{"error": {"message": "Model Not Exist"}}' if status == 400 else b""
    verdicts = [breaker.saw(classify(status, {}, body), 0.0) for _ in range(3)]
    assert verdicts[-1] is not None
    assert not verdicts[-1].whole_key
    assert verdicts[-1].reason.startswith(told)


def test_a_used_up_quota_parks_until_its_reset() -> None:
    for wait, seconds in ((None, 77.0), (3600.0, 3600.0)):
        spent = ProviderError(ErrorClass.QUOTA_DEAD, 429, "insufficient_quota", "pay", wait)
        verdict = Breaker(quota_wait=77.0).saw(spent, 0.0)
        assert verdict is not None
        assert (verdict.status, verdict.cause) == (DeploymentStatus.COOLING, Cause.QUOTA)
        assert verdict.seconds == seconds


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_first_answer_to_a_probe_opens(answer: ErrorClass | None) -> None:
    verdict = Breaker().probed(error(answer), Cause.FAILURES)
    assert verdict == Verdict(DeploymentStatus.OPEN)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_probe_that_is_itself_at_fault_shows_that_the_server_lives(status: int) -> None:
    told = classify(status, {}, b'{"error": {"message": "no such field: colour"}}')
    assert Breaker().probed(told, Cause.FAILURES) == Verdict(DeploymentStatus.OPEN)


@pytest.mark.parametrize("status", [301, 401, 402, 403, 405])
def test_a_probe_whose_key_or_address_is_refused_opens_nothing(status: int) -> None:
    verdict = Breaker().probed(classify(status, {}, b"{}"), Cause.FAILURES)
    assert verdict is not None
    assert (verdict.status, verdict.cause) == (DeploymentStatus.DISABLED, Cause.KEY)


@pytest.mark.parametrize("leaf", FAILURES)
def test_a_failed_probe_cools_again(leaf: ErrorClass) -> None:
    verdict = Breaker().probed(error(leaf), Cause.QUOTA)
    assert verdict is not None
    assert verdict.status is DeploymentStatus.COOLING


def test_a_429_to_a_probe_counts_where_429s_were_the_reason() -> None:
    throttled = error(ErrorClass.THROTTLED)
    assert Breaker().probed(throttled, Cause.FAILURES) is None
    verdict = Breaker().probed(throttled, Cause.THROTTLED)
    assert verdict is not None
    assert verdict.cause is Cause.THROTTLED
