"""When answers are enough, and who may be asked next."""

from dataclasses import replace

import pytest

from core.cascade import Cascade, Compare
from core.plan import Plan
from core.ports import Scored
from routing.cascade import above, agreed, weighed

TWO = Cascade("agreement", 2)


def test_an_escalation_goes_up_and_to_no_other_key_of_the_same() -> None:
    names = ("small#1", "small#2", "mini", "large", "wish", "long")
    plan = Plan("smart", names, 100, 6, fallbacks=1, usual=5, too_long=("long",))
    assert above(plan, 0) == above(plan, 1) == 0b1100
    assert above(plan, 2) == 0b1000
    assert above(plan, 3) == 0


@pytest.mark.parametrize(
    ("compare", "one", "other", "same"),
    [
        ("exact", "Refund.", " refund ", True),
        ("exact", "refund", "top up", False),
        ("exact", "", "", False),
        ("exact", "a long answer\nyes", "another one\nyes", False),
        ("choice", "The answer is (B).", "B", True),
        ("choice", "I think A, no: answer: C", "**C**", True),
        ("choice", r"so \boxed{12}", "the answer is 12.", True),
        ("choice", "I would say A or B", "A", False),
        ("json", '{"a": 1, "b": [2]}', '```json\n{"b": [2], "a": 1}\n```', True),
        ("json", '{"a": 1}', '{"a": 2}', False),
        ("json", "no JSON", "no JSON", False),
    ],
)
def test_two_agree(compare: Compare, one: str, other: str, same: bool) -> None:
    cascade = Cascade("agreement", 2, compare)
    assert agreed(cascade, [one, other]).accepted is same
    assert agreed(cascade, [other, one]).accepted is same


def test_as_many_have_to_agree_as_were_asked_for_whoever_they_are() -> None:
    assert not agreed(TWO, ["a"]).accepted
    assert not agreed(TWO, ["a", "b"]).accepted
    third = agreed(TWO, ["a", "b", "a"])
    assert third.accepted
    assert third.best == 2
    assert third.why == "2 of 3 say the same"
    assert not agreed(Cascade("agreement", 3), ["a", "a", "b"]).accepted


def test_the_likeliest_answer_counts_and_the_later_of_equals() -> None:
    told = Scored({}, gain=0.0, least=0.5)
    likely = Cascade("learned", threshold=0.8)
    verdict = weighed(likely, [0.9, 0.4], told)
    assert (verdict.accepted, verdict.best) == (True, 0)
    assert weighed(likely, [0.3, 0.3], told).best == 1
    assert weighed(Cascade("learned"), [None, 0.1, None], told).best == 1
    assert weighed(likely, [0.8], told).accepted
    assert weighed(likely, [0.79], told).why == "acceptance 0.790 < 0.800"


def test_without_a_threshold_answers_go_on_where_the_strong_one_gains_enough() -> None:
    learned = Cascade("learned")
    assert weighed(learned, [0.2], Scored({}, gain=0.1, least=0.1)).accepted
    dear = weighed(learned, [0.9], Scored({}, gain=0.104, least=0.1))
    assert not dear.accepted
    assert dear.why == "acceptance 0.900, asking on gains 0.104 > 0.100"
    aimed = replace(learned, least=0.2)
    assert weighed(aimed, [0.9], Scored({}, gain=0.104, least=0.1)).accepted
