import json

import pytest

from core.errors import NotFoundError
from db.choices import Why
from db.stories import errors_by_class, job_story, request_story

CHOICE = {
    "by": "fastest",
    "saw": {"small": "90 ms", "large": "400 ms"},
    "closed": {"mini": "cooling: 429, back in 9 s"},
}


@pytest.fixture
def told(inn) -> int:
    """A job: its first request was tried twice and failed, the second waits after one try."""
    job_id = inn.submit([{"custom_id": "a", "prompt": "x"}, "b", b"{"], skip_bad_lines=True)
    key = {"part": inn.part(job_id), "job_id": job_id}
    plan = json.dumps({"route": "default", "candidates": ["small"]})
    inn.put("plans", digest="d", body=plan)
    inn.put("routes", **key, chunk_id=1, round=1, seqs=[0, 1], plan_ids=[1, 1], tokens=[4, 5])
    call = {**key, "round": 1, "deployment": "small", "bound_nusd": 9, "commit_id": 1}
    bad = {"status": "error", "error_class": "overloaded", "error": "try later", "cost_nusd": 0}
    inn.put("attempts", **call, seq=0, n=1, latency_ms=5, http_status=503, **bad)
    inn.put("attempts", **call, seq=1, n=1, latency_ms=5, http_status=503, **bad)
    bad = {"status": "error", "error_class": "bad_request", "error": "no", "cost_nusd": 2}
    inn.put("attempts", **call, seq=0, n=2, latency_ms=6, http_status=400, **bad)
    inn.rows("update attempts set chunk_id = (select min(id) from chunks) where n = 1 and seq = 0")
    inn.rows("update chunks set choice = %s", json.dumps(CHOICE))
    error = json.dumps({"code": "x", "message": "no", "class": "bad_request"})
    result = {"status": "failed", "deployment": "small", "n": 2, "error": error, "commit_id": 1}
    inn.put("results", **key, seq=0, round=1, **result)
    inn.rows("update chunks set status = 'done'")
    one = {"size": 1, "seqs": [1], "tries": [1], "calls": [1], "tokens": [5], "bounds": [9]}
    where = {"deployment": "small", "status": "waiting", "reason": "overloaded"}
    inn.put("chunks", **key, **one, **where)
    return job_id


def test_a_requests_story_from_line_to_result(inn, told: int) -> None:
    story = inn.ask(request_story, told, "a")
    assert (story.asked.row, story.asked.target) == (1, "default")
    assert [(plan.body["candidates"], plan.tokens) for plan in story.plans] == [(["small"], 4)]
    assert [(c.n, c.error_class, c.cost_usd) for c in story.calls] == [
        (1, "overloaded", "0"),
        (2, "bad_request", "0.000000002"),
    ]
    assert story.outcome.status == "failed"
    assert story.now is None


def test_a_waiting_requests_story_says_where_it_is(inn, told: int) -> None:
    story = inn.ask(request_story, told, "request-2")
    assert story.outcome is None
    now = story.now
    assert (now.status, now.deployment, now.reason, now.tries) == (
        "waiting",
        "small",
        "overloaded",
        1,
    )
    assert not now.sent


def test_errors_are_grouped_with_samples(inn, told: int) -> None:
    groups = {group.name: group for group in inn.ask(errors_by_class, told)}
    assert set(groups) == {"bad_request", "overloaded", "invalid_json_line"}
    bad, over = groups["bad_request"], groups["overloaded"]
    assert (bad.calls, bad.requests, bad.failed) == (1, 1, 1)
    assert bad.samples == [("a", "small", "no")]
    assert (over.calls, over.requests, over.failed) == (2, 2, 0)
    assert over.samples == [("a", "small", "try later"), ("request-2", "small", "try later")]
    refused = groups["invalid_json_line"]
    assert (refused.calls, refused.failed, refused.samples[0][0]) == (0, 1, "request-3")


def test_a_jobs_story_has_its_history_and_plans(inn, told: int) -> None:
    story = inn.ask(job_story, told)
    assert [event[0] for event in story.events] == ["submitted"]
    assert story.events[0][1] == {"total": 3, "refused": 1, "targets": ["default"]}
    assert [(body["route"], n) for body, n in story.plans] == [("default", 2)]


def test_what_is_not_there_is_said(inn, told: int) -> None:
    with pytest.raises(NotFoundError, match="custom_id 'zz'"):
        inn.ask(request_story, told, "zz")
    other = inn.submit(["a"], project="other")
    for read, args in ((request_story, ("a",)), (errors_by_class, ()), (job_story, ())):
        with pytest.raises(NotFoundError):
            inn.ask(read, other, *args)


def test_why_a_call_went_where_it_went(inn, told: int) -> None:
    first, second = inn.ask(request_story, told, "a").calls
    assert first.why == Why(**CHOICE)
    assert second.why is None
    assert [(c.deployment, c.by, c.calls) for c in inn.ask(job_story, told).choices] == [
        ("small", "", 2),
        ("small", "fastest", 1),
    ]
    # It was bound to another deployment since.
    inn.rows("update chunks set choice = %s", json.dumps(CHOICE | {"saw": {"large": "9 ms"}}))
    assert inn.ask(request_story, told, "a").calls[0].why is None
