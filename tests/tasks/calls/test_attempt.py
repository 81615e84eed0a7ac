"""One call: what its failures cost, and where its request goes next."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from core.checks import Checks
from core.deployment import Deployment
from core.money import Price
from core.plan import Plan
from core.ports import Ask, Buckets, Grant, HttpCall, HttpReply, Return
from core.status import AttemptStatus, ResultStatus
from core.work import Entry, LeasedChunk, Settled
from providers.errors import TransportError
from providers.tokens import count_many
from tasks.calls.attempt import Caller, attempt
from tasks.calls.decide import LONGEST_DELAY
from tasks.health import Health

BOUND = 700
PRICE = Price(Decimal(1), Decimal(2))
BODY = b'{"messages": [{"role": "user", "content": "name a colour"}]}'
UNBOUNDED = json.dumps(
    {
        "messages": [
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-7"}}]},
        ]
    }
).encode()
ANSWER = b'{"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}], "usage": %s}'
COUNTED = b'{"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}'


def deployment(name: str, *, price: Price | None = PRICE, kind: str = "openai") -> Deployment:
    return Deployment(
        name=name,
        provider="lab",
        kind=kind,
        base_url="http://127.0.0.1:1/v1",
        model="my-8b",
        timeout=10,
        api_key="env:KEY",
        buckets=Buckets(name, None, None, None),
        price=price,
        context=None,
    )


def entry(
    *candidates: str,
    limited: bool = False,
    body: bytes = BODY,
    bound: int = BOUND,
    tries: int = 0,
    **rules: Any,
) -> Entry:
    size = count_many([body])[0].size(100)
    chunk = LeasedChunk(
        id=1,
        fence=1,
        job_id=1,
        part=1,
        round=1,
        plan_id=1,
        plan=Plan("default", candidates, max_output=100, max_attempts=6, **rules),
        candidate=0,
        deployment=candidates[0],
        seqs=[4],
        tries=[tries],
        calls=[tries],
        tokens=[size.tokens],
        text_bytes=[size.text_bytes],
        overheads=[size.overhead],
        outputs=[size.output],
        bounds=[bound],
        accounts=(1, 2),
        limited=limited,
    )
    return Entry(chunk, 0, body)


TOO_LONG = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'


class Wire:
    """Transport, limiter and keys in one: gives one answer, or raises."""

    def __init__(self, answer: HttpReply | Exception, key: Exception | None = None) -> None:
        self.answer = answer
        self.key = key
        self.sent: list[HttpCall] = []
        self.pauses: list[float] = []
        self.heard: list[dict[str, str]] = []
        self.held: list[str] = []

    def get(self, reference: str, /) -> str | None:
        if self.key is not None:
            raise self.key
        return None

    async def send(self, call: HttpCall) -> HttpReply:
        self.sent.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def acquire(
        self, scopes: Sequence[Buckets], asks: Sequence[Ask], *, express: bool = False
    ) -> Grant:
        return Grant(len(asks))

    def give_back(self, scopes: Sequence[Buckets], back: Return) -> None:
        return

    def hear(self, key: str, headers: Mapping[str, str]) -> None:
        self.heard.append(dict(headers))

    async def pause(
        self, key: str, seconds: float, epoch: int = -1, began: float | None = None
    ) -> None:
        self.pauses.append(seconds)

    async def hold(self, key: str, longest: float) -> None:
        self.held.append(key)

    async def close(self) -> None:
        return


def call(wire: Wire, one: Entry, *deployments: Deployment) -> Settled:
    known = {known.name: known for known in deployments}
    return asyncio.run(attempt(Caller(known, wire, wire, wire), one))


def reply(status: int, body: bytes = b"", **headers: str) -> HttpReply:
    return HttpReply(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


def test_an_answer_costs_what_was_counted() -> None:
    settled = call(Wire(reply(200, ANSWER % COUNTED)), entry("small"), deployment("small"))
    assert settled.status is AttemptStatus.OK
    assert settled.cost_nusd == 10 * 1000 + 3 * 2000
    assert settled.result is not None
    assert settled.result.status is ResultStatus.COMPLETED


def test_a_defect_before_anything_is_sent_costs_nothing() -> None:
    for wire, kind in [
        (Wire(reply(200), key=RuntimeError("the keyring broke")), "openai"),
        (Wire(reply(200)), "no-such-kind"),
    ]:
        settled = call(wire, entry("small"), deployment("small", kind=kind))
        assert wire.sent == []
        assert (settled.status, settled.cost_nusd) == (AttemptStatus.ERROR, 0)
        assert settled.move is not None


def test_a_defect_after_it_was_sent_stays_booked_at_its_bound() -> None:
    wire = Wire(RuntimeError("the transport broke"))
    settled = call(wire, entry("small"), deployment("small"))
    assert len(wire.sent) == 1
    assert (settled.status, settled.cost_nusd) == (AttemptStatus.UNKNOWN, BOUND)


def test_what_was_not_sent_cannot_have_been_billed() -> None:
    wire = Wire(TransportError("nobody listens", may_have_arrived=False))
    settled = call(wire, entry("small"), deployment("small"))
    assert (settled.error_class, settled.cost_nusd) == ("transient", 0)


def test_only_a_probe_does_not_wait_for_the_pause_that_it_tries() -> None:
    wire, usual, probe = Wire(reply(200)), entry("small"), entry("small")
    probe.probe = True
    call(wire, probe, deployment("small"))
    assert (len(wire.sent), wire.held) == (1, [])
    call(wire, usual, deployment("small"))
    assert (len(wire.sent), wire.held) == (2, ["small"])


def test_a_throttle_pauses_the_deployment_for_as_long_as_it_says() -> None:
    for said, pause in (("86400", 86_400.0), ("1e30", 0.0)):
        wire = Wire(reply(429, retry_after=said))
        settled = call(wire, entry("small"), deployment("small"))
        assert wire.pauses == [pause]
        assert settled.move is not None
        assert settled.move.delay <= LONGEST_DELAY


def test_under_a_budget_nothing_falls_back_to_where_it_has_no_price() -> None:
    three = (deployment("small"), deployment("free", price=None), deployment("large"))
    dead = reply(400, TOO_LONG)
    names = [one.name for one in three]
    for limited, expected in [(False, "free"), (True, "large")]:
        settled = call(Wire(dead), entry(*names, limited=limited), *three)
        assert settled.move is not None
        assert settled.move.deployment == expected
        assert (settled.move.bound > 0) is limited
    settled = call(Wire(dead), entry("small", "free", limited=True), *three)
    assert settled.move is None
    assert settled.result is not None


def test_under_a_budget_nothing_falls_back_without_a_bound() -> None:
    two = (deployment("small"), deployment("large"))
    for limited in (False, True):
        one = entry("small", "large", limited=limited, body=UNBOUNDED)
        settled = call(Wire(TOO_LONG_REPLY), one, *two)
        assert (settled.move is None) is limited
        assert (settled.result is not None) is limited


TOO_LONG_REPLY = reply(400, TOO_LONG)
REFUSED_REPLY = reply(400, b'{"error": {"code": "content_filter", "message": "no"}}')
GIVEN_UP = reply(503, retry_after="40")


def test_what_was_too_long_goes_to_a_larger_window_that_it_fits() -> None:
    yard = (
        replace(deployment("small"), context=1000),
        replace(deployment("same"), context=1000),
        replace(deployment("narrow"), context=100),
        replace(deployment("large"), context=2000),
    )
    settled = call(Wire(TOO_LONG_REPLY), entry(*(one.name for one in yard)), *yard)
    assert settled.move is not None
    assert (settled.move.deployment, settled.move.excluded) == ("large", 0b0001)
    for too_small in (yard[:3], (yard[0], replace(yard[3], context=100))):
        names = [one.name for one in too_small]
        assert call(Wire(TOO_LONG_REPLY), entry(*names), *too_small).result is not None


def test_a_route_has_its_own_lists_for_what_is_too_long_or_refused() -> None:
    names = ("small", "twin", "long", "lax")
    yard = tuple(deployment(name) for name in names)
    one = entry(*names)
    lists = {"usual": 2, "too_long": ("long",), "refused": ("lax",)}
    one.chunk.plan = replace(one.chunk.plan, **lists)
    for answer, expected, among in [
        (TOO_LONG_REPLY, "long", "too_long"),
        (REFUSED_REPLY, "lax", "refused"),
        (GIVEN_UP, "twin", ""),
    ]:
        move = call(Wire(answer), one, *yard).move
        assert move is not None
        assert (move.deployment, move.among, move.excluded) == (expected, among, 0b1)
    # A list is not gone round again.
    one.chunk.candidate, one.chunk.deployment, one.chunk.among = 3, "lax", "refused"
    assert call(Wire(REFUSED_REPLY), one, *yard).result is not None


def test_an_answer_that_refuses_goes_to_others_and_counts_where_there_are_none() -> None:
    two = (deployment("small"), deployment("lax"))
    refusal = b'{"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}], "usage": %s}'
    answer = reply(200, refusal % COUNTED)
    settled = call(Wire(answer), entry("small", "lax", usual=1, refused=("lax",)), *two)
    assert settled.move is not None
    assert (settled.move.deployment, settled.error_class) == ("lax", "refused")
    assert settled.cost_nusd == 10 * 1000 + 3 * 2000
    for one in (entry("small"), entry("small", usual=1, refused=("small",))):
        settled = call(Wire(answer), one, *two)
        assert settled.result is not None
        assert settled.result.status is ResultStatus.COMPLETED


def test_without_a_list_a_refusal_is_the_result() -> None:
    two = (deployment("small"), deployment("large"))
    settled = call(Wire(REFUSED_REPLY), entry("small", "large"), *two)
    assert settled.result is not None
    assert settled.result.status is ResultStatus.FAILED


def test_a_price_that_was_lost_since_it_was_planned_leaves_the_bound() -> None:
    lost = deployment("small", price=None)
    done = Wire(reply(200, ANSWER % COUNTED))
    assert call(done, entry("small", limited=True), lost).cost_nusd == BOUND
    assert call(done, entry("small", bound=0), lost).cost_nusd is None


def said(text: str | None, finish: str = "stop", **message: Any) -> HttpReply:
    choice = {"message": {"content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return reply(200, json.dumps({"choices": [choice], "usage": usage}).encode())


def test_an_answer_that_does_not_pass_is_paid_and_tried_elsewhere() -> None:
    two = (deployment("small"), deployment("large"))
    for checks, candidate in [(Checks(empty="next"), 1), (Checks(empty="retry"), 0)]:
        settled = call(Wire(said("")), entry("small", "large", checks=checks), *two)
        assert (settled.status, settled.error_class) == (AttemptStatus.ERROR, "rejected")
        assert settled.cost_nusd == 10 * 1000 + 3 * 2000
        assert settled.http_status == 200
        assert settled.move is not None
        assert (settled.move.candidate, settled.move.tries) == (candidate, 1)


def test_an_answer_to_a_prompt_that_the_server_cut_goes_elsewhere() -> None:
    two = (deployment("small"), deployment("large"))
    prompt = json.dumps({"messages": [{"role": "user", "content": "one and another " * 1000}]})
    for checks, status in [(Checks(unread="next"), "error"), (Checks(), "ok")]:
        one = entry("small", "large", body=prompt.encode(), checks=checks)
        settled = call(Wire(said("fine")), one, *two)
        assert settled.status == status
        assert (settled.move is not None and settled.move.candidate == 1) == (status == "error")


def test_what_is_rejected_to_the_last_fails_with_its_answer_to_be_seen() -> None:
    for checks, tries in [(Checks(empty="fail"), 0), (Checks(empty="retry"), 5)]:
        one = entry("small", checks=checks, tries=tries)
        settled = call(Wire(said(None)), one, deployment("small"))
        assert settled.result is not None
        assert settled.result.status is ResultStatus.FAILED
        assert settled.result.http_status == 200
        assert json.loads(settled.result.body or "")["choices"][0]["message"]["content"] is None
        error = json.loads(settled.result.error or "")
        assert (error["code"], error["class"]) == ("empty", "rejected")


def test_an_answer_whose_text_is_none_is_the_providers_mistake_under_checks() -> None:
    good = said("fine").body
    for text in (b"5", b'"\xff"'):
        one = entry("small", checks=Checks(empty="next"))
        settled = call(Wire(reply(200, good.replace(b'"fine"', text))), one, deployment("small"))
        assert settled.error_class == "malformed"
        assert settled.error is not None
        assert settled.error.startswith("the answer's text cannot be read")
        assert settled.move is not None


def test_a_refusal_and_a_tool_call_are_answers() -> None:
    strict = Checks("fail", "fail", "fail")
    tools = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    for answer in (said(None, refusal="I would rather not"), said(None, tool_calls=tools)):
        settled = call(Wire(answer), entry("small", checks=strict), deployment("small"))
        assert settled.status is AttemptStatus.OK


def test_a_request_is_held_to_the_schema_it_asks_for_itself() -> None:
    checks = Checks(invalid="fail", schema="request")
    schema = {"type": "object", "required": ["label"]}
    asked = {
        None: "ok",
        "json_object": "ok",
        "json_schema": "rejected",
    }
    for kind, end in asked.items():
        body = json.loads(BODY)
        if kind is not None:
            body["response_format"] = {"type": kind}
        if kind == "json_schema":
            body["response_format"]["json_schema"] = {"name": "x", "schema": schema}
        one = entry("small", checks=checks, body=json.dumps(body).encode())
        settled = call(Wire(said("{}")), one, deployment("small"))
        assert (settled.error_class or "ok") == end


def test_what_is_wrong_with_an_answer_is_told_in_short() -> None:
    told = json.dumps({"k" * 1_000_000: 5})
    schema = '{"additionalProperties": {"type": "string"}}'
    answer = {"choices": [{"message": {"content": told}, "finish_reason": "stop"}]}
    one = entry("small", checks=Checks(schema=schema, invalid="fail"))
    settled = call(Wire(reply(200, json.dumps(answer).encode())), one, deployment("small"))
    assert settled.error is not None
    assert "does not fit its schema" in settled.error
    assert len(settled.error) <= 500


def test_a_request_may_have_less_patience_than_its_provider() -> None:
    for timeout, sent in [(None, 10), (2.5, 2.5), (60.0, 10)]:
        wire = Wire(said("red"))
        call(wire, entry("small", timeout=timeout), deployment("small"))
        assert wire.sent[0].timeout == sent


def test_what_took_too_long_for_the_request_is_asked_of_the_next_and_not_held_against_it() -> None:
    late = TransportError("no answer within 1 s", may_have_arrived=True)
    two = (deployment("small"), deployment("large"))
    for names, candidate in [(("small", "large"), 1), (("small",), 0)]:
        settled = call(Wire(late), entry(*names, timeout=1.0), *two)
        assert settled.status is AttemptStatus.UNKNOWN
        assert settled.move is not None
        assert settled.move.candidate == candidate
    health = Health()
    known = {one.name: one for one in two}
    for _ in range(50):
        wire = Wire(late)
        asyncio.run(
            attempt(Caller(known, wire, wire, wire, health=health), entry("small", timeout=1.0))
        )
    assert not health.condition("small").down
