"""A cascade's steps: what an answer leads to, and what stands in where nobody else can be asked."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.cascade import Cascade
from core.checks import Checks
from core.plan import Plan
from core.ports import HttpReply, Scored
from core.status import AttemptStatus, Condition, DeploymentStatus, ResultStatus
from core.work import Entry, Kept, Settled
from tasks.calls.attempt import Caller, attempt
from tasks.health import Health
from tests.tasks.calls.test_attempt import BOUND, Wire, deployment, entry

THREE = ("small", "mini", "large")
AGREE = Cascade("agreement", 2)
LEARNED = Cascade("learned", model=7)


def body(text: str) -> bytes:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def kept(n: int, deployment: str, text: str, score: float | None = None) -> Kept:
    return Kept(n, deployment, body(text).decode(), score)


def at(cascade: Cascade, place: int, *replies: Kept, limited: bool = False, **rules: Any) -> Entry:
    """A request at its candidate number `place`, answered so far as `replies` say."""
    one = entry(*THREE, limited=limited, cascade=cascade, choose="cascade", **rules)
    chunk = one.chunk
    chunk.candidate, chunk.deployment = place, THREE[place]
    chunk.calls[0], chunk.excluded = len(replies), (1 << place) - 1
    chunk.came_from, chunk.escalated = (place - 1, True) if replies else (None, False)
    return replace(one, replies=replies)


class Scores:
    """Tells the same probabilities whatever it is asked; a strong candidate is always right, and
    worth asking where that gains more than 0.2."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.asked: list[tuple[int, str, dict[str, str]]] = []

    async def score(self, model: int, prompt: str, answers: Mapping[str, str]) -> Scored | None:
        self.asked.append((model, prompt, dict(answers)))
        if not self.scores:
            return None
        told = dict(zip(answers, self.scores, strict=False))
        return Scored(told, 1 - max(self.scores), 0.2)


class KeysRefused(Health):
    """No key is accepted any more."""

    def condition(self, deployment: str) -> Condition:
        return Condition(DeploymentStatus.DISABLED)


def call(
    one: Entry,
    answer: str | HttpReply,
    *,
    scorer: Scores | None = None,
    known: Sequence[str] = THREE,
    health: Health | None = None,
) -> Settled:
    reply = HttpReply(200, {}, body(answer)) if isinstance(answer, str) else answer
    wire = Wire(reply)
    deployments = {name: deployment(name) for name in known}
    caller = Caller(deployments, wire, wire, wire, health or Health(), scorer=scorer)
    return asyncio.run(attempt(caller, one))


def step(settled: Settled) -> Mapping[str, Any]:
    assert settled.result is not None
    assert settled.result.step is not None
    return dict(json.loads(settled.result.step))


def escalates_to(settled: Settled) -> str:
    assert settled.result is None
    assert settled.status is AttemptStatus.OK
    assert settled.cost_nusd
    assert settled.kept is not None
    assert settled.move is not None
    assert settled.move.deployment == THREE[settled.move.candidate]
    return settled.move.deployment


def test_the_first_of_two_to_agree_is_kept_and_the_next_is_asked() -> None:
    first = call(at(AGREE, 0), "red")
    assert escalates_to(first) == "mini"
    assert first.move is not None
    assert (first.move.excluded, first.move.tries, first.move.reason) == (0b001, 0, "escalated")
    assert first.error == "escalated: 1 of 2 asked"


def test_two_that_agree_are_enough_and_the_last_answer_counts() -> None:
    second = call(at(AGREE, 1, kept(1, "small", "Red.")), "red")
    assert second.move is None
    assert second.kept is None
    assert step(second) == {
        "step": 2,
        "steps": 2,
        "accepted": True,
        "why": "2 of 2 say the same",
    }


def test_two_that_differ_are_decided_by_the_strong_one_whatever_it_says() -> None:
    one = at(AGREE, 1, kept(1, "small", "red"))
    assert escalates_to(call(one, "blue")) == "large"
    last = at(AGREE, 2, kept(1, "small", "red"), kept(2, "mini", "blue"))
    told = step(call(last, "green"))
    assert (told["step"], told["accepted"], told["why"]) == (3, True, "the last candidate")


def test_an_escalation_spends_no_attempt_and_goes_past_other_keys() -> None:
    one = at(LEARNED, 0, tries=2)
    one.chunk.plan = Plan(
        "smart", ("small", "small#2", "large"), 100, 6, cascade=LEARNED, choose="cascade"
    )
    ended = call(one, "red", scorer=Scores(0.1), known=("small", "small#2", "large"))
    assert ended.move is not None
    assert (ended.move.candidate, ended.move.excluded, ended.move.tries) == (2, 0b011, 2)


def test_a_learned_scorer_accepts_what_is_likely_right() -> None:
    scorer = Scores(0.9)
    told = step(call(at(LEARNED, 0), "red", scorer=scorer))
    assert (told["accepted"], told["score"]) == (True, 0.9)
    assert scorer.asked == [(7, "name a colour", {"small": "red"})]
    assert escalates_to(call(at(LEARNED, 0), "red", scorer=Scores(0.7))) == "mini"
    low = replace(LEARNED, threshold=0.6)
    assert step(call(at(low, 0), "red", scorer=Scores(0.7)))["accepted"]


def test_the_likelier_earlier_answer_is_the_result_of_the_later_call() -> None:
    ended = call(at(LEARNED, 1, kept(1, "small", "red")), "blue", scorer=Scores(0.95, 0.2))
    assert ended.result is not None
    assert ended.result.of is not None
    assert (ended.result.of.n, ended.result.of.deployment) == (1, "small")
    assert "red" in (ended.result.body or "")
    assert ended.kept is not None
    assert "blue" in ended.kept.body
    assert step(ended)["step"] == 1


def test_what_nothing_can_score_is_not_enough() -> None:
    assert escalates_to(call(at(LEARNED, 0), "red", scorer=Scores())) == "mini"
    assert escalates_to(call(at(LEARNED, 0), "red")) == "mini"


def test_checks_that_say_next_escalate_and_others_mean_what_they_say() -> None:
    by_checks = Cascade("checks")
    wants_json = Checks(invalid="next", truncated="fail")
    assert escalates_to(call(at(by_checks, 0, checks=wants_json), "no JSON")) == "mini"
    assert step(call(at(by_checks, 0, checks=wants_json), "{}"))["why"] == "passed its checks"
    last = call(at(by_checks, 2, kept(1, "small", "no"), checks=wants_json), "no JSON either")
    assert step(last)["step"] == 2
    cut = body("{}").replace(b'"stop"', b'"length"')
    failed = call(at(by_checks, 0, checks=wants_json), HttpReply(200, {}, cut))
    assert failed.result is not None
    assert failed.result.status is ResultStatus.FAILED
    strict = call(at(AGREE, 2, kept(1, "small", "no"), checks=wants_json), "no JSON")
    assert strict.status is AttemptStatus.ERROR


def test_without_a_later_candidate_the_best_answer_counts_and_says_so() -> None:
    alone = call(at(AGREE, 0), "red", known=("small",))
    assert step(alone)["accepted"] is False
    assert "no later candidate can be called" in step(alone)["why"]
    one = call(at(LEARNED, 0), "red", scorer=Scores(0.1), health=KeysRefused())
    assert step(one)["accepted"] is False


def test_the_failure_of_the_last_candidate_leaves_the_best_earlier_answer() -> None:
    refused = HttpReply(400, {}, b'{"error": {"message": "no", "code": "nonsense"}}')
    replies = kept(1, "small", "red", 0.6), kept(2, "mini", "blue", 0.3)
    ended = call(at(LEARNED, 2, *replies), refused)
    assert ended.status is AttemptStatus.ERROR
    assert ended.result is not None
    assert ended.result.status is ResultStatus.COMPLETED
    assert ended.result.of == replies[0]
    told = step(ended)
    assert told == {
        "step": 1,
        "steps": 2,
        "accepted": False,
        "why": "the next candidate failed (bad_request)",
        "score": 0.6,
    }


def test_a_failure_that_can_be_tried_again_is_tried_again_there() -> None:
    busy = HttpReply(503, {}, b"{}")
    ended = call(at(AGREE, 2, kept(1, "small", "a"), kept(2, "mini", "b")), busy)
    assert ended.move is not None
    assert ended.move.candidate == 2
    assert ended.entry.bound == BOUND


def test_other_lists_have_no_steps() -> None:
    one = at(AGREE, 0, too_long=("small",))
    one.chunk.among = "too_long"
    ended = call(one, "red")
    assert ended.result is not None
    assert ended.result.step is None
