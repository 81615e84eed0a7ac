"""A process counts what it recorded, once, and by what it became."""

from dataclasses import replace

from core.deployment import Usage
from core.work import Batch, LeasedChunk
from tasks.meters import Histogram, Meters
from tests.db.kit import PLAN, again, answered, entries, in_doubt


def leased(size: int) -> LeasedChunk:
    some = list(range(size))
    zeros, tens = [0] * size, [10] * size
    return LeasedChunk(
        1, 1, 1, 1, 1, 1, PLAN, 0, "small", some, zeros, zeros, *[tens] * 5, (1, 2), False
    )


def test_a_histogram_holds_its_bounds() -> None:
    one = Histogram((1, 2))
    for value in (0, 1, 1.5, 2, 3):
        one.add(value)
    assert (one.counts, one.sum) == ([2, 2, 1], 7.5)


def test_a_commit_is_counted_by_what_became_of_its_calls() -> None:
    chunk = leased(4)
    first, second, third, fourth = entries(chunk, range(4))
    usage = Usage(100, 20, cached_tokens=40, reasoning_tokens=5)
    ok = replace(answered(first, cost=7), usage=usage)
    retry, moved = again(second), again(third, candidate=1, kind="too_long")
    lost = in_doubt(fourth)
    meters = Meters()
    meters.committed(Batch([ok, retry, moved, lost]), set(), 0.01)
    one = meters.of("small")
    assert sum(one.latency.counts) == 1
    assert one.failed == {
        ("error", "overloaded"): 1,
        ("error", "too_long"): 1,
        ("unknown", "unknown"): 1,
    }
    assert (one.cost, one.cost_bound) == (7, 10)
    assert (one.input_tokens.sum, one.cached_tokens) == (100, 40)
    assert (one.output_tokens.sum, one.reasoning_tokens) == (20, 5)
    assert sum(meters.commits.counts) == 1


def test_a_retry_and_a_fallback_are_counted_where_the_call_before_failed() -> None:
    again_here, from_there = leased(2), leased(1)
    again_here.came_from, from_there.came_from = 0, 1
    meters = Meters()
    ended = [answered(one) for one in (*entries(again_here, [0, 1]), *entries(from_there, [0]))]
    meters.committed(Batch(ended), set(), 0.01)
    small, large = meters.of("small"), meters.of("large")
    assert (small.retries, small.fallbacks) == (2, 0)
    assert (large.retries, large.fallbacks) == (0, 1)


def test_an_answer_that_came_too_late_is_no_result() -> None:
    chunk = leased(1)
    meters = Meters()
    meters.committed(Batch([answered(entries(chunk, [0])[0])]), {chunk.id}, 0.01)
    one = meters.of("small")
    assert (one.late, sum(one.latency.counts), one.cost) == (1, 0, 0)


def test_a_step_that_fails_is_timed_and_counted() -> None:
    meters = Meters()
    try:
        with meters.stepping("call", "lab"):
            raise ValueError
    except ValueError:
        pass
    with meters.stepping("route", ""):
        pass
    assert sum(meters.slices["lab"].counts) == sum(meters.steps["route"].counts) == 1
    assert meters.step_failures["call"] == 1
    assert meters.step_failures["route"] == 0
