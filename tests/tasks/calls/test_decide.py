"""Where a retry is decided: each class of error, and what no course of errors can do."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.plan import Plan, indexes
from core.status import ResultStatus
from core.work import Result
from providers.errors import ErrorClass, ProviderError
from tasks.calls.decide import (
    ATTEMPTS_PER_CANDIDATE,
    LONGEST_DELAY,
    LONGEST_PAUSE,
    MOST_CALLS,
    PATIENCE,
    REFUSALS,
    THROTTLES_PER_CANDIDATE,
    Again,
    Elsewhere,
    Tried,
    decide,
    failure,
)

FRESH = Tried(candidate=0, tries=0, calls=0)
LAST = Tried(candidate=1, tries=1, calls=1, excluded=0b1)
FINAL, SAME, NEXT = "final", "same", "next"
TABLE = [
    (ErrorClass.THROTTLED, SAME, 0),
    (ErrorClass.OVERLOADED, SAME, 1),
    (ErrorClass.TRANSIENT, SAME, 1),
    (ErrorClass.UNKNOWN, SAME, 1),
    (ErrorClass.MALFORMED, SAME, 1),
    (ErrorClass.REJECTED, SAME, 1),
    (ErrorClass.CREDENTIAL_DEAD, SAME, 1),
    (ErrorClass.QUOTA_DEAD, SAME, 1),
    (ErrorClass.TOO_LONG, NEXT, 1),
    (ErrorClass.REFUSED, FINAL, 0),
    (ErrorClass.BAD_REQUEST, FINAL, 0),
]


def plan(candidates: int = 2, max_attempts: int = 6) -> Plan:
    names = tuple(f"d{number}" for number in range(candidates))
    return Plan("default", names, max_output=100, max_attempts=max_attempts)


def error(leaf: ErrorClass, retry_after: float | None = None) -> ProviderError:
    return ProviderError(leaf, 503, "busy", "please wait", retry_after)


def test_the_table_has_every_class() -> None:
    assert {leaf for leaf, _, _ in TABLE} == set(ErrorClass)


@pytest.mark.parametrize(("leaf", "what", "spent"), TABLE)
def test_first_error_of_each_class(leaf: ErrorClass, what: str, spent: int) -> None:
    decision = decide(error(leaf), FRESH, plan(), jitter=0.5)
    if what == FINAL:
        assert isinstance(decision, Result)
        return
    assert decision.tries == spent
    assert decision.reason == leaf
    if what == NEXT:
        assert decision == Elsewhere(0b1, "", spent, leaf)
    else:
        assert isinstance(decision, Again)
        assert decision.delay > 0


def test_what_only_another_candidate_can_mend_ends_with_the_last() -> None:
    assert isinstance(decide(error(ErrorClass.TOO_LONG), LAST, plan(), jitter=0), Result)


@pytest.mark.parametrize("leaf", [ErrorClass.CREDENTIAL_DEAD, ErrorClass.QUOTA_DEAD])
def test_a_few_refusals_end_nobodys_request_however_short_its_patience(leaf: ErrorClass) -> None:
    hasty, refused = plan(1, max_attempts=1), error(leaf)
    for tries in range(REFUSALS - 1):
        assert isinstance(decide(refused, Tried(0, tries, tries), hasty, jitter=0), Again)
    last = Tried(0, REFUSALS - 1, REFUSALS - 1)
    assert isinstance(decide(refused, last, hasty, jitter=0), Result)


@pytest.mark.parametrize("leaf", [leaf for leaf, what, _ in TABLE if what != FINAL])
def test_a_deployment_that_is_down_costs_no_attempts(leaf: ErrorClass) -> None:
    weary = Tried(0, 5, 40)
    decision = decide(error(leaf), weary, plan(), jitter=0, down=True)
    assert decision == Again(5, 0.0, leaf, behind=True)


def test_a_probe_that_may_be_billed_spends_an_attempt_and_goes_behind_the_others() -> None:
    lost = replace(error(ErrorClass.UNKNOWN), billed=True)
    decision = decide(lost, FRESH, plan(1), jitter=0, down=True)
    assert decision == Again(1, 0.0, ErrorClass.UNKNOWN, behind=True)
    weary = Tried(0, 5, 5)
    assert isinstance(decide(lost, weary, plan(1), jitter=0, down=True), Result)


def test_a_provider_that_rules_another_try_out_is_left() -> None:
    hopeless = replace(error(ErrorClass.OVERLOADED), hopeless=True)
    assert decide(hopeless, FRESH, plan(), jitter=0) == Elsewhere(0b1, "", 1, ErrorClass.OVERLOADED)
    assert isinstance(decide(hopeless, FRESH, plan(1), jitter=0), Result)


def test_a_long_wait_is_the_deployments_not_the_requests() -> None:
    decision = decide(error(ErrorClass.OVERLOADED, 86_400.0), FRESH, plan(1), jitter=0)
    assert decision == Again(1, LONGEST_DELAY, ErrorClass.OVERLOADED)


def test_a_throttled_request_backs_off_by_itself_and_never_longer_than_its_provider_asks() -> None:
    def waits(retry_after: float, calls: int) -> float:
        throttled = error(ErrorClass.THROTTLED, retry_after)
        decision = decide(throttled, Tried(0, 0, calls), plan(1), jitter=0.5)
        assert isinstance(decision, Again)
        return decision.delay

    # Its line is what waits for so long, and what sees that 429s become few.
    assert [waits(86_400.0, calls) for calls in range(4)] == [0.125, 0.25, 0.5, 1.0]
    assert waits(86_400.0, 500) == LONGEST_PAUSE / 2
    assert waits(2.0, 500) == 2.0
    assert waits(0.0, 0) == 0.0


def test_after_its_share_of_attempts_the_next_candidate_is_tried() -> None:
    late = Tried(0, ATTEMPTS_PER_CANDIDATE - 1, ATTEMPTS_PER_CANDIDATE - 1)
    decision = decide(error(ErrorClass.OVERLOADED, 20.0), late, plan(), jitter=0)
    assert decision == Elsewhere(0b1, "", ATTEMPTS_PER_CANDIDATE, ErrorClass.OVERLOADED)
    alone = decide(error(ErrorClass.OVERLOADED, 20.0), late, plan(1), jitter=0)
    assert alone == Again(ATTEMPTS_PER_CANDIDATE, 20.0, ErrorClass.OVERLOADED)


def test_a_throttled_request_keeps_its_attempts_and_moves_on_in_the_end() -> None:
    throttled = error(ErrorClass.THROTTLED, 2.0)
    for calls in range(THROTTLES_PER_CANDIDATE - 1):
        again = decide(throttled, Tried(0, 0, calls), plan(), jitter=0)
        assert again == Again(0, 0.0, ErrorClass.THROTTLED)
    last = Tried(0, 0, THROTTLES_PER_CANDIDATE - 1)
    moved = decide(throttled, last, plan(), jitter=0)
    assert moved == Elsewhere(0b1, "", 0, ErrorClass.THROTTLED)
    # With nobody else to ask, it waits for as long as it takes.
    patient = Tried(0, 0, 500)
    assert decide(throttled, patient, plan(1), jitter=0.5) == Again(0, 2.0, ErrorClass.THROTTLED)


@pytest.mark.parametrize("leaf", [ErrorClass.THROTTLED, ErrorClass.OVERLOADED])
def test_a_long_wait_is_not_waited_for_where_another_may_answer(leaf: ErrorClass) -> None:
    for candidates, wait, expected in [
        (2, PATIENCE, Again),
        (2, PATIENCE + 1, Elsewhere),
        (1, PATIENCE + 1, Again),
    ]:
        decision = decide(error(leaf, wait), FRESH, plan(candidates), jitter=0)
        assert isinstance(decision, expected)
        if isinstance(decision, Again) and leaf is ErrorClass.OVERLOADED:
            assert decision.delay == wait


def test_a_throttled_request_is_given_up_in_the_end() -> None:
    throttled = error(ErrorClass.THROTTLED, 2.0)
    assert isinstance(decide(throttled, Tried(0, 0, MOST_CALLS - 2), plan(1), jitter=0), Again)
    result = decide(throttled, Tried(0, 0, MOST_CALLS - 1), plan(1), jitter=0)
    assert isinstance(result, Result)
    told = json.loads(result.error or "")
    assert told["class"] == "throttled"
    for part in ("after 1000 calls", "please wait", "one more candidate"):
        assert part in told["message"]


def test_the_last_attempt_is_final() -> None:
    spent = replace(LAST, tries=5, calls=9)
    assert isinstance(decide(error(ErrorClass.OVERLOADED), spent, plan(), jitter=0), Result)
    assert isinstance(decide(error(ErrorClass.THROTTLED), spent, plan(), jitter=0), Again)


def test_pauses_grow_and_are_no_shorter_than_the_provider_asks() -> None:
    def pause(calls: int, retry_after: float | None = None) -> float:
        failed = error(ErrorClass.OVERLOADED, retry_after)
        decision = decide(failed, Tried(0, 0, calls), plan(1), jitter=0.999)
        assert isinstance(decision, Again)
        return decision.delay

    pauses = [pause(calls) for calls in range(12)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 1
    assert max(pauses) <= LONGEST_PAUSE
    assert pause(3, retry_after=45.0) == 45.0
    # One that always says "soon" does not take all attempts of a request within seconds.
    assert pause(3, retry_after=1.0) == pause(3)


def test_a_rejected_answer_is_asked_for_again_without_sparing_who_gave_it() -> None:
    rejected = error(ErrorClass.REJECTED)
    for calls in range(6):
        again = decide(rejected, replace(FRESH, calls=calls), plan(1), jitter=0.999)
        assert isinstance(again, Again)
        assert again.delay < 1


def test_candidates_that_the_configuration_has_lost_are_passed_over() -> None:
    dead = error(ErrorClass.TOO_LONG)
    three = plan(3)
    assert decide(dead, FRESH, three, jitter=0, may=0b101) == Elsewhere(0b1, "", 1, "too_long")
    assert isinstance(decide(dead, FRESH, three, jitter=0, may=0b001), Result)
    # The very one that was called is gone: waiting for it would take for ever.
    unknown = error(ErrorClass.UNKNOWN)
    moved = decide(unknown, FRESH, three, jitter=0, may=0b010)
    assert moved == Elsewhere(0b1, "", 1, "unknown")
    assert isinstance(decide(unknown, FRESH, three, jitter=0, may=0), Result)


@pytest.mark.parametrize("leaf", [ErrorClass.TOO_LONG, ErrorClass.REFUSED])
def test_a_list_of_its_own_takes_what_failed_so_once(leaf: ErrorClass) -> None:
    lists = replace(plan(4), usual=2, too_long=("d2",), refused=("d2", "d3"))
    first = decide(error(leaf), FRESH, lists, jitter=0)
    assert first == Elsewhere(0b1, leaf, 1, leaf)
    there = Tried(2, 1, 1, 0b1, leaf)
    second = decide(error(leaf), there, lists, jitter=0)
    if leaf is ErrorClass.REFUSED:
        assert second == Elsewhere(0b101, leaf, 2, leaf)
    else:
        assert isinstance(second, Result)
    assert isinstance(decide(error(ErrorClass.BAD_REQUEST), there, lists, jitter=0), Result)


def test_a_failure_is_told_in_openais_shape() -> None:
    result = failure(ProviderError(ErrorClass.BAD_REQUEST, 400, "no_such_field", "no such field"))
    assert result.status == ResultStatus.FAILED
    assert result.http_status == 400
    assert json.loads(result.body or "") == {
        "error": {
            "message": "no such field",
            "type": "bad_request",
            "param": None,
            "code": "no_such_field",
        }
    }
    assert json.loads(result.error or "")["code"] == "no_such_field"


@pytest.mark.parametrize("status", [None, 200])
def test_a_failure_without_an_error_status_has_no_answer(status: int | None) -> None:
    result = failure(ProviderError(ErrorClass.MALFORMED, status, "malformed", "no JSON"))
    assert (result.http_status, result.body) == (None, None)
    assert json.loads(result.error or "")["class"] == "malformed"


ERRORS = st.builds(
    ProviderError,
    st.sampled_from(list(ErrorClass)),
    st.sampled_from([None, 200, 400, 429, 503]),
    st.just("code"),
    st.just("message"),
    st.none() | st.floats(0, 600),
)


# On a busy machine long lists take their time.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    errors=st.lists(ERRORS, min_size=40, max_size=80),
    candidates=st.integers(1, 4),
    max_attempts=st.integers(1, 10),
    jitter=st.floats(0, 1, exclude_max=True),
    missing=st.integers(0, 7).map(lambda bits: bits << 1),
    picks=st.randoms(),
)
def test_no_course_of_errors_goes_on_for_ever_or_back(
    errors: list[ProviderError],
    candidates: int,
    max_attempts: int,
    jitter: float,
    missing: int,
    picks: Random,
) -> None:
    rules = plan(candidates, max_attempts)
    may = rules.mask() & ~missing
    tried, spent = FRESH, 0
    for failed in errors:
        spent += int(failed.error_class.spends_attempt)
        decision = decide(failed, tried, rules, jitter=jitter, may=may)
        if isinstance(decision, Result):
            assert decision.status == ResultStatus.FAILED
            break
        assert decision.tries == spent < max(max_attempts, REFUSALS)
        tried = replace(tried, tries=spent, calls=tried.calls + 1)
        if isinstance(decision, Elsewhere):
            # Whichever dispatch chooses, nobody is asked again who has given up.
            assert decision.excluded == tried.excluded | 1 << tried.candidate
            choice = picks.choice([*indexes(may & ~decision.excluded)])
            tried = replace(tried, candidate=choice, excluded=decision.excluded)
        else:
            assert decision.delay >= 0
    # Only throttling, which costs nothing, and refused keys may outlast the budget of attempts.
    assert spent <= max(max_attempts, REFUSALS)
