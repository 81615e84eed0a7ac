import csv
import io
import json
from typing import Any

import pytest

from core.errors import NotFoundError
from core.intents import IntentFile
from db.results import stream_results
from routing.asked_intents import clarification

BODY = {"choices": [{"message": {"content": 'He said "hi",\nü'}, "finish_reason": "stop"}]}

FILE = IntentFile.model_validate(
    {"intents": {"lost_card": {"description": "A card is lost"}, "balance": {}}}
)


def blocks(inn, job_id: int, kind: str = "jsonl") -> bytes:
    async def read(conn: Any, project: int) -> bytes:
        return b"".join([block async for block in stream_results(conn, project, job_id, kind)])

    return inn.ask(read)


def lines(inn, job_id: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in blocks(inn, job_id).splitlines()]


def answer(inn, job_id: int, seq: int, **values: Any) -> None:
    known = {"part": inn.part(job_id), "job_id": job_id, "seq": seq, "round": 1, "commit_id": 1}
    row = {"status": "completed", "deployment": "small", "n": 1, "http_status": 200}
    inn.put("results", **{**known, **row, "request_id": f"req_{seq}", **values})


def call(inn, job_id: int, seq: int, n: int, **values: Any) -> None:
    known = {"part": inn.part(job_id), "job_id": job_id, "seq": seq, "n": n, "round": 1}
    row = {"deployment": "small", "status": "ok", "bound_nusd": 9, "latency_ms": 10 * n}
    inn.put("attempts", **{**known, **row, "commit_id": 1, **values})


def close(inn, job_id: int, status: str) -> None:
    inn.rows("update jobs set status = %s, ended_at = now() where id = %s", status, job_id)


def test_a_line_is_openais_with_what_it_took_beside_it(inn) -> None:
    job_id = inn.submit([{"custom_id": 'q"ü', "prompt": "a", "metadata": {"k": [1]}}])
    pretty = json.dumps(BODY, indent=2)
    answer(inn, job_id, 0, body=pretty)
    call(inn, job_id, 0, 1, status="error", cost_nusd=1_000)
    call(inn, job_id, 0, 2, cost_nusd=1_500_000_000, input_tokens=7, output_tokens=3)
    [line] = lines(inn, job_id)
    assert line == {
        "id": f"batch_req_{job_id}_0",
        "custom_id": 'q"ü',
        "response": {"status_code": 200, "request_id": "req_0", "body": BODY},
        "error": None,
        "batchyard": {
            "status": "completed",
            "deployment": "small",
            "route": "default",
            "attempts": 2,
            "cost_usd": "1.500001",
            "usage": {"input_tokens": 7, "output_tokens": 3},
            "latency_ms": 20,
            "metadata": {"k": [1]},
        },
    }


def test_running_jobs_show_what_has_ended_and_in_input_order(inn) -> None:
    job_id = inn.submit(["a", "b", "c"])
    assert blocks(inn, job_id) == b""
    for seq in (2, 0):
        answer(inn, job_id, seq, body="{}")
    assert [line["custom_id"] for line in lines(inn, job_id)] == ["request-1", "request-3"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("cancelled", "batch_cancelled"),
        ("expired", "batch_expired"),
        ("budget_exhausted", "budget_exhausted"),
    ],
)
def test_what_an_ended_job_left_open_has_the_jobs_outcome(inn, status: str, code: str) -> None:
    job_id = inn.submit(["a", "b"])
    answer(inn, job_id, 0, body="{}")
    close(inn, job_id, status)
    done, rest = lines(inn, job_id)
    assert done["response"]["status_code"] == 200
    assert rest["response"] is None
    assert rest["error"]["code"] == code
    assert rest["batchyard"]["status"] == status
    assert rest["batchyard"]["cost_usd"] == "0"
    rows = list(csv.DictReader(io.StringIO(blocks(inn, job_id, "csv").decode())))
    assert rows[1]["status"] == status
    assert rows[1]["error"].startswith(code)


def test_failures_with_an_http_answer_and_without(inn) -> None:
    job_id = inn.submit(["a", "b", b"{"], skip_bad_lines=True)
    body = {"error": {"message": "no\u0000", "type": "bad_request", "param": None, "code": "x"}}
    error = json.dumps({"code": "x", "message": "no\u0000", "class": "bad_request"})
    answer(inn, job_id, 0, status="failed", http_status=400, body=json.dumps(body), error=error)
    gone = json.dumps({"code": None, "message": "connection lost", "class": "transient"})
    answer(inn, job_id, 1, status="failed", http_status=None, error=gone)
    http, other, refused = lines(inn, job_id)
    assert (http["response"]["status_code"], http["error"]) == (400, None)
    assert http["response"]["body"] == body
    assert other["response"] is None
    assert other["error"] == {"code": None, "message": "connection lost"}
    assert refused["error"]["code"] == "invalid_json_line"
    assert refused["batchyard"]["deployment"] is None
    assert refused["batchyard"]["attempts"] == 0
    rows = list(csv.DictReader(io.StringIO(blocks(inn, job_id, "csv").decode())))
    errors = [row["error"].split(":")[0] for row in rows]
    assert errors == ["x", "connection lost", "invalid_json_line"]


def test_an_answer_that_did_not_pass_stands_beside_its_error(inn) -> None:
    job_id = inn.submit(["a"])
    error = json.dumps({"code": "truncated", "message": "cut off", "class": "rejected"})
    answer(inn, job_id, 0, status="failed", body=json.dumps(BODY), error=error)
    [line] = lines(inn, job_id)
    assert line["response"]["body"] == BODY
    assert line["error"] == {"code": "truncated", "message": "cut off"}
    assert line["batchyard"]["status"] == "failed"
    [row] = csv.DictReader(io.StringIO(blocks(inn, job_id, "csv").decode(), newline=""))
    assert (row["status"], row["error"]) == ("failed", "truncated: cut off")
    assert row["text"].startswith("He said")


def test_what_was_not_understood_comes_with_the_question_and_its_options(inn) -> None:
    job_id = inn.submit(["a", "b"])
    said = {"balance": 0.5, "lost_card": 0.3}
    error = json.loads(clarification([*said], FILE, [*said.values()]))
    values = {"status": "needs_clarification", "http_status": None, "deployment": ""}
    answer(inn, job_id, 0, **values, error=json.dumps(error))
    answer(inn, job_id, 1, body=json.dumps(BODY))
    asked, understood = lines(inn, job_id)
    assert asked["batchyard"]["clarify"] == {
        "question": "Which of these is it: balance; or A card is lost?",
        "options": [
            {"intent": "balance", "description": "", "probability": 0.5},
            {"intent": "lost_card", "description": "A card is lost", "probability": 0.3},
        ],
    }
    assert asked["error"]["code"] == "needs_clarification"
    assert "clarify" not in understood["batchyard"]
    [row, _] = csv.DictReader(io.StringIO(blocks(inn, job_id, "csv").decode(), newline=""))
    assert row["error"].endswith("Which of these is it: balance; or A card is lost?")


def test_an_unknown_price_is_unknown_and_not_nothing(inn) -> None:
    job_id = inn.submit(["a"])
    answer(inn, job_id, 0, body="{}")
    call(inn, job_id, 0, 1, cost_nusd=None)
    assert lines(inn, job_id)[0]["batchyard"]["cost_usd"] is None


def test_the_highest_round_is_the_result(inn) -> None:
    job_id = inn.submit(["a", "b"])
    for round_, text in ((1, "old"), (2, "new")):
        answer(inn, job_id, 0, round=round_, body=json.dumps(text))
    answer(inn, job_id, 1, body='"only"')
    inn.rows("update jobs set round = 2")
    assert [line["response"]["body"] for line in lines(inn, job_id)] == ["new", "only"]


def test_csv_quotes_what_it_must(inn) -> None:
    job_id = inn.submit([{"custom_id": 'a,"b', "prompt": "x"}])
    answer(inn, job_id, 0, body=json.dumps(BODY))
    call(inn, job_id, 0, 1, cost_nusd=5, input_tokens=7, output_tokens=3)
    [row] = csv.DictReader(io.StringIO(blocks(inn, job_id, "csv").decode(), newline=""))
    assert row == {
        "custom_id": 'a,"b',
        "status": "completed",
        "text": 'He said "hi",\nü',
        "finish_reason": "stop",
        "deployment": "small",
        "attempts": "1",
        "cost_usd": "0.000000005",
        "input_tokens": "7",
        "output_tokens": "3",
        "latency_ms": "10",
        "error": "",
    }


def test_a_stream_left_early_leaves_a_connection_that_works(inn) -> None:
    job_id = inn.submit(f"{n}" for n in range(3000))
    inn.rows(
        "insert into results (part, job_id, seq, round, status, body, commit_id) "
        "select part, job_id, seq, 1, 'completed', to_json(repeat('x', 400))::text, 1 "
        "from requests"
    )

    async def read(conn: Any, project: int) -> Any:
        stream = stream_results(conn, project, job_id)
        first = await anext(stream)
        await stream.aclose()
        return first, await (await conn.execute("select 1")).fetchone()

    first, row = inn.ask(read)
    assert first.endswith(b"}\n")
    assert row == (1,)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_large_answers_come_in_many_blocks_and_none_is_missing(inn, kind: str) -> None:
    job_id = inn.submit(f"{n}" for n in range(40))
    inn.rows(
        "insert into results (part, job_id, seq, round, status, body, commit_id) "
        "select part, job_id, seq, 1, 'completed', "
        "json_build_object('choices', json_build_array(json_build_object('message', "
        "json_build_object('content', repeat(E'\\r\\n,', 20000)))))::text, 1 from requests"
    )
    heard: list[int] = []

    async def read(conn: Any, project: int) -> list[bytes]:
        stream = stream_results(conn, project, job_id, kind, heard.append)
        return [block async for block in stream]

    found = inn.ask(read)
    assert len(found) > 5
    assert heard[-1] == 40
    whole = b"".join(found).decode()
    if kind == "csv":
        names = [row["custom_id"] for row in csv.DictReader(io.StringIO(whole, newline=""))]
    else:
        names = [json.loads(line)["custom_id"] for line in whole.splitlines()]
    assert names == [f"request-{n}" for n in range(1, 41)]


def test_another_projects_results_are_not_there(inn) -> None:
    inn.submit(["a"])
    other = inn.submit(["a"], project="other")
    with pytest.raises(NotFoundError):
        blocks(inn, other)
