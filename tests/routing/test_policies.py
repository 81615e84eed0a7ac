"""Which candidate a chunk goes to: the table of the policies, and what none of them may do."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import Price
from core.plan import REFUSED, TOO_LONG, Plan
from routing.policies import POLICIES, SOON, TRIAL, Ask, Choice, Line, choose, reach

FULL: dict[str, Any] = {"room": 0}


def line(name: str, price: str | None = "1", **seen: Any) -> Line:
    known = None if price is None else Price(Decimal(price), Decimal(price))
    defaults: dict[str, Any] = {"model": name[0], "room": 1000, "ahead": 1000, "carries": 64}
    return Line(name, price=known, **(defaults | seen))


def plan(policy: str, *names: str, **rules: Any) -> Plan:
    return Plan("default", names, 100, 6, choose=policy, **rules)


def pick(rules: Plan, *lines: Line, ask: Ask | None = None) -> str | None:
    asked = ask or Ask(1, 200, rules.mask(), 100.0, 500.0)
    choice = choose(rules, asked, {one.name: one for one in lines})
    return None if choice is None else rules.candidates[choice.candidate]


@pytest.mark.parametrize(
    ("policy", "lines", "expected"),
    [
        ("ordered", [line("a"), line("b")], "a"),
        ("ordered", [line("a", **FULL), line("b")], None),
        ("ordered", [line("a#1", room=100), line("a#2", room=200), line("b")], "a#2"),
        ("ordered", [line("a#1", **FULL), line("a#2", **FULL), line("b")], None),
        ("cheapest", [line("b", "2"), line("a#1", "1", **FULL), line("a#2", "1")], "a#2"),
        ("cheapest", [line("a", "3"), line("b", "2"), line("c", None)], "b"),
        ("cheapest", [line("a", "3"), line("b", "2", **FULL), line("c", None)], None),
        ("cheapest", [line("a", None), line("b", "9")], "b"),
        # Half the price a token, and answers four times as long.
        ("cheapest", [line("a", "2", output_tokens=10), line("b", "1", output_tokens=400)], "a"),
        ("fastest", [line("a", latency_ms=900.0), line("b", latency_ms=300.0)], "b"),
        ("fastest", [line("a", latency_ms=900.0), line("b", latency_ms=300.0, **FULL)], "a"),
        ("fastest", [line("a", latency_ms=9.0), line("b")], "b"),
        ("fastest", [line("a", latency_ms=9.0), line("b", load=TRIAL)], "a"),
        ("least_busy", [line("a", load=50), line("b", load=80, carries=128)], "b"),
        ("least_busy", [line("a", load=50), line("b", load=20, **FULL)], "a"),
        ("least_busy", [line("a", load=50), line("b", load=20, carries=None)], "b"),
        ("least_busy", [line("a", load=20), line("b", load=50, carries=None)], "a"),
        ("spread", [line("a1", room=100), line("a2", room=200), line("b")], "a2"),
        ("spread", [line("a1", room=100), line("a2", room=150, ahead=3000), line("b")], "a1"),
        ("spread", [line("a1", **FULL), line("a2", **FULL), line("b")], None),
        ("weighted", [line("a", **FULL), line("b")], "b"),
    ],
)
def test_what_each_policy_goes_by(policy: str, lines: list[Line], expected: str | None) -> None:
    weights = (1.0, 1.0) if policy == "weighted" else ()
    assert pick(plan(policy, *(one.name for one in lines), weights=weights), *lines) == expected


@pytest.mark.parametrize("policy", list(POLICIES))
def test_what_is_closed_for_longer_is_passed_over_and_for_a_moment_waited_for(policy: str) -> None:
    rules = plan(policy, "a", "b", weights=(9.0, 1.0) if policy == "weighted" else ())
    second = line("b", price="5", latency_ms=5000.0, load=900)
    for reopens in (None, SOON + 1):
        shut = line("a", closed="cooling: it failed", reopens=reopens, latency_ms=1.0)
        choice = choose(rules, Ask(1, 200, 0b11), {"a": shut, "b": second})
        assert choice is not None
        assert choice.candidate == 1
        assert "it failed" in choice.closed["a"]
    briefly = line("a", closed="cooling: 429", reopens=1.0, latency_ms=1.0)
    expected = "b" if policy in ("fastest", "weighted", "least_busy") else None
    assert pick(rules, briefly, second) == expected


def test_an_estimate_without_observation_is_the_others_or_the_limit() -> None:
    lines = {"a": line("a", "1"), "b": line("b", "2", output_tokens=10.0)}
    choice = choose(plan("cheapest", "a", "b"), Ask(1, 1, 0b11, 100.0, 500.0), lines)
    assert choice is not None
    assert choice.saw == {"a": "$0.00011 a request", "b": "$0.00022 a request"}


def test_own_fallbacks_wait_until_the_routes_candidates_are_gone() -> None:
    rules = plan("least_busy", "a", "wish", "last", usual=3, fallbacks=2)
    busy, idle = line("a", load=999, **FULL), line("wish")
    assert pick(rules, busy, idle) is None
    assert pick(rules, line("a", closed="paused: by hand"), line("last"), idle) == "wish"
    asked = Ask(1, 200, 0b110)
    assert choose(rules, asked, {"a": line("a"), "wish": idle}) == Choice(
        1, "ordered", {"wish": "2. of the list"}
    )


def test_a_list_of_its_own_is_gone_through_in_its_order_whatever_the_policy() -> None:
    rules = plan("cheapest", "a", "b", "c", usual=2, refused=("c", "b"))
    seen = {"a": line("a", "1"), "b": line("b", "2"), "c": line("c", "9")}
    ask = Ask(1, 200, rules.mask(REFUSED), 100.0, 500.0, among=REFUSED)
    assert choose(rules, ask, seen) == Choice(
        2, "ordered", {"c": "1. of the list", "b": "2. of the list"}, among=REFUSED
    )
    assert "c" in reach(rules, "c", seen)
    assert {"b", "c"} <= {*reach(rules, "c", seen), *reach(rules, "b", seen)}
    seen["c"] = line("c", closed="paused: by an operator")
    told = choose(rules, ask, seen)
    assert told is not None
    assert (told.candidate, told.closed) == (1, {"c": "paused: by an operator"})
    assert reach(rules, "c", seen) == ["b"]


def test_a_newcomer_gets_of_what_is_kept_for_it() -> None:
    rules = plan("ordered", "a")
    full = line("a", room=-100, spare=100)
    assert pick(rules, full) is None
    assert pick(rules, full, ask=Ask(1, 100, 0b1, new_to=0b1)) == "a"
    full.take(100)
    assert pick(rules, full, ask=Ask(1, 100, 0b1, new_to=0b1)) is None


def test_what_stands_somewhere_may_go_where_its_plan_says() -> None:
    seen = {one.name: one for one in (line("a"), line("b"), line("c", **FULL), line("d"))}
    ordered = plan("ordered", "a", "b", "c", "d", usual=3, too_long=("d",))
    assert reach(ordered, "a", seen) == ["a"]
    assert reach(ordered, "b", seen) == ["b"]
    assert reach(ordered, "d", seen) == ["d"]
    assert ordered.mask(TOO_LONG) == 0b1000
    assert reach(plan("spread", "a", "b", "c"), "a", seen) == ["a", "b"]
    seen["a"].closed = "disabled: its key was refused"
    assert reach(ordered, "a", seen) == ["b"]


LINES = st.builds(
    line,
    st.just("?"),
    st.sampled_from([None, "0", "1", "2.5"]),
    model=st.sampled_from("mn"),
    closed=st.sampled_from(["", "", "cooling: it failed"]),
    reopens=st.sampled_from([None, 1.0, 60.0]),
    room=st.integers(-500, 2000),
    ahead=st.integers(1, 2000),
    load=st.integers(0, 3000),
    carries=st.integers(1, 500),
    latency_ms=st.none() | st.floats(0, 1e6),
    output_tokens=st.none() | st.floats(0, 1e5),
)


@given(
    st.sampled_from(list(POLICIES)),
    st.lists(LINES, min_size=1, max_size=6),
    st.integers(0, 63),
    st.integers(1, 10**9),
    st.integers(0, 3),
)
def test_nothing_goes_where_it_may_not(
    policy: str, lines: list[Line], excluded: int, number: int, wishes: int
) -> None:
    names = [f"d{index}" for index in range(len(lines))]
    for name, one in zip(names, lines, strict=True):
        one.name = name
    wishes = min(wishes, len(names) - 1)
    weights = (1.0,) * (len(names) - wishes) if policy == "weighted" else ()
    rules = plan(policy, *names, usual=len(names), fallbacks=wishes, weights=weights)
    allowed = rules.mask() & ~excluded
    seen = dict(zip(names, lines, strict=True))
    choice = choose(rules, Ask(number, 200, allowed, 100.0, 50.0), seen)
    able = [i for i, one in enumerate(lines) if allowed >> i & 1 and one.free()]
    if choice is None:
        # Somebody waits only for what is better and not away, or for room.
        better = [i for i, one in enumerate(lines) if allowed >> i & 1 and not one.away]
        assert not able or better
        return
    assert choice.candidate in able
    assert names[choice.candidate] in choice.saw


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(0, 10**6))
def test_weights_come_true(weights: list[int], first: int) -> None:
    names = [f"d{index}" for index in range(len(weights))]
    rules = plan("weighted", *names, weights=tuple(map(float, weights)))
    lines = [line(name, room=10**9) for name in names]
    picked = Counter(
        pick(rules, *lines, ask=Ask(number, 200, rules.mask()))
        for number in range(first, first + 1000)
    )
    for name, weight in zip(names, weights, strict=True):
        assert picked[name] == pytest.approx(1000 * weight / sum(weights), abs=12)


@given(st.integers(2, 6), st.integers(1, 200))
def test_spread_is_even(lines: int, chunks: int) -> None:
    names = [f"m{index}" for index in range(lines)]
    seen = {name: line(name, room=40_000, ahead=40_000) for name in names}
    rules = plan("spread", *names)
    counts = dict.fromkeys(names, 0)
    for number in range(chunks):
        choice = choose(rules, Ask(number, 200, rules.mask()), seen)
        assert choice is not None
        name = names[choice.candidate]
        seen[name].take(200)
        counts[name] += 1
    assert max(counts.values()) - min(counts.values()) <= 1
