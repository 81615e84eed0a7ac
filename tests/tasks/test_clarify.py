"""Questions of a job are answered by people, and the answers become its results."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConflictError, InputError
from db.finish import end_job
from db.jobs import job_view, list_jobs
from db.results import stream_results
from tasks.clarify import Clarified, clarify, to_clarify
from tasks.context import Context
from tasks.lifecycle import cancel, delete, pause

OPTIONS = [
    {"intent": "lost_card", "description": "You have lost your card"},
    {"intent": "stolen_card", "description": "Your card was stolen"},
]
QUESTION = "Have you lost your card, or was it stolen?"


def result(inn: Any, job_id: int, seq: int, status: str, **values: Any) -> None:
    inn.put(
        "results",
        part=inn.part(job_id),
        job_id=job_id,
        seq=seq,
        round=1,
        commit_id=0,
        status=status,
        **values,
    )


def ask(inn: Any, job_id: int, *seqs: int, question: str = QUESTION) -> None:
    """The requests end as those that nobody understands do."""
    error = {"code": "needs_clarification", "question": question, "options": OPTIONS}
    for seq in seqs:
        result(inn, job_id, seq, "needs_clarification", error=json.dumps(error))


def answer(inn: Any, job_id: int, seq: int, text: str) -> None:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    result(inn, job_id, seq, "completed", deployment="small", body=json.dumps(body))


def end(inn: Any, job_id: int) -> None:
    async def work(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            await conn.execute("update chunks set status = 'done' where job_id = %s", (job_id,))
            await end_job(conn, job_id)

    inn.run(work)


def asked_job(inn: Any, **options: Any) -> int:
    """Four requests: one is answered, three of them are asked about."""
    lines = [{"custom_id": f"c{n}", "prompt": f"My card is gone {n}"} for n in range(4)]
    job_id = inn.submit(lines, **options)
    answer(inn, job_id, 0, "first")
    ask(inn, job_id, 1, 2, 3)
    end(inn, job_id)
    return int(job_id)


def send(inn: Any, job_id: int, answers: Any, **options: Any) -> Clarified:
    done = inn.run(lambda ctx: clarify(ctx, 1, job_id, answers, **options))
    assert isinstance(done, Clarified)
    return done


def told(inn: Any, job_id: int) -> dict[str, tuple[str, str | None]]:
    """Status of each custom_id, and which job answered for it."""

    async def read(ctx: Context) -> bytes:
        async with ctx.pool.connection() as conn:
            return b"".join([block async for block in stream_results(conn, 1, job_id)])

    lines = [json.loads(line) for line in inn.run(read).splitlines()]
    return {
        line["custom_id"]: (line["batchyard"]["status"], line["batchyard"].get("clarified_by"))
        for line in lines
    }


def test_questions_stand_as_lines_to_be_filled_in(inn) -> None:
    job_id = asked_job(inn)
    first, *rest = inn.ask(to_clarify, job_id)
    assert (first.custom_id, first.prompt, first.question) == ("c1", "My card is gone 1", QUESTION)
    assert [option.intent for option in first.options] == ["lost_card", "stolen_card"]
    assert first.answer == ""
    assert [one.custom_id for one in rest] == ["c2", "c3"]


def test_what_is_answered_goes_on_with_its_question_and_answer(inn) -> None:
    job_id = asked_job(inn, budget_nusd=10**9)
    answers = [
        {"custom_id": "c1", "answer": 2},
        {"custom_id": "c2", "answer": "Lost_Card"},
        {"custom_id": "c3", "answer": ""},
        {"custom_id": "c0", "answer": "1"},
        {"custom_id": "nobody", "answer": "1"},
    ]
    done = send(inn, job_id, answers)
    assert (done.answered, done.unanswered, done.unknown) == (2, 1, ("c0", "nobody"))
    rows = inn.rows(
        "select seq, custom_id, row, target, body, wishes from requests where job_id = %s",
        done.job_id,
    )
    assert [row[:4] for row in rows] == [(0, "c1", 2, "default"), (1, "c2", 3, "default")]
    assert json.loads(rows[0][4])["messages"] == [
        {"role": "user", "content": "My card is gone 1"},
        {"role": "assistant", "content": QUESTION},
        {"role": "user", "content": "Your card was stolen"},
    ]
    assert json.loads(rows[0][5]) == {"intent": "stolen_card"}
    assert ("route", (done.job_id,)) in inn.bell.rung
    jobs = inn.rows("select kind, parent_id, account_id, part, total from jobs order by id")
    assert jobs[1] == ("clarified", job_id, jobs[0][2], jobs[0][3], 2)
    assert inn.rows("select count(*) from accounts where kind = 'job'") == [(1,)]


def test_clarified_results_are_the_jobs_own(inn) -> None:
    job_id = asked_job(inn)
    linked = send(inn, job_id, [{"custom_id": f"c{n}", "answer": "1"} for n in (1, 3)]).job_id
    still = ("needs_clarification", None)
    assert told(inn, job_id) == {"c0": ("completed", None), "c1": still, "c2": still, "c3": still}
    assert [one.custom_id for one in inn.ask(to_clarify, job_id)] == ["c2"]
    answer(inn, linked, 0, "lost")
    result(inn, linked, 1, "failed", error='{"code": "x", "message": "y"}')
    by = f"job_{linked}"
    assert told(inn, job_id) == {
        "c0": ("completed", None),
        "c1": ("completed", by),
        "c2": still,
        "c3": ("failed", by),
    }
    view = inn.ask(job_view, job_id)
    assert view.clarified == {"completed": 1, "failed": 1}
    assert [(one.id, one.kind) for one in view.linked] == [(linked, "clarified")]


def test_what_is_not_understood_again_is_asked_again_about_what_was_said(inn) -> None:
    job_id = asked_job(inn)
    first = send(inn, job_id, [{"custom_id": "c1", "answer": "it is a card"}]).job_id
    ask(inn, first, 0, question="Which card?")
    end(inn, first)
    again = inn.ask(to_clarify, job_id)[0]
    assert (again.custom_id, again.question) == ("c1", "Which card?")
    second = send(inn, job_id, [{"custom_id": "c1", "answer": "the blue one"}]).job_id
    [(body, wishes)] = inn.rows("select body, wishes from requests where job_id = %s", second)
    contents = [message["content"] for message in json.loads(body)["messages"]]
    assert contents == [
        "My card is gone 1",
        QUESTION,
        "it is a card",
        "Which card?",
        "the blue one",
    ]
    assert wishes is None
    answer(inn, second, 0, "blue")
    assert told(inn, job_id)["c1"] == ("completed", f"job_{second}")


def test_an_answer_whose_job_was_stopped_can_be_given_again(inn) -> None:
    job_id = asked_job(inn)
    linked = send(inn, job_id, [{"custom_id": "c1", "answer": "1"}]).job_id
    inn.run(lambda ctx: cancel(ctx, 1, job_id))
    end(inn, linked)
    assert inn.ask(job_view, linked).status == "cancelled"
    assert [one.custom_id for one in inn.ask(to_clarify, job_id)] == ["c1", "c2", "c3"]
    assert send(inn, job_id, [{"custom_id": "c1", "answer": "1"}]).answered == 1


def test_bad_lines_are_told_and_nothing_is_sent(inn, tmp_path: Path) -> None:
    job_id = asked_job(inn)
    lines = [
        '{"custom_id": "c1", "answer": "3"}',
        "{oops",
        '{"answer": "1"}',
        '{"custom_id": "c2", "answer": {"x": 1}}',
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="3 bad lines") as caught:
        send(inn, job_id, path)
    assert [(one.line, one.field) for one in caught.value.problems] == [
        (2, ""),
        (3, "custom_id"),
        (4, "answer"),
    ]
    path.write_text(lines[0], encoding="utf-8")
    with pytest.raises(InputError, match=r"3 is no option.*1 \(lost_card\), 2 \(stolen_card\)"):
        send(inn, job_id, path)
    assert inn.rows("select count(*) from jobs") == [(1,)]


def test_a_table_is_read_as_well(inn, tmp_path: Path) -> None:
    job_id = asked_job(inn)
    path = tmp_path / "answers.csv"
    text = "custom_id,prompt,question,options,answer\nc1,x,y,z,2\nc2,x,y,z,\n"
    path.write_text(text, encoding="utf-8")
    done = send(inn, job_id, path)
    assert (done.answered, done.unanswered) == (1, 2)
    assert inn.rows("select source from jobs where id = %s", done.job_id) == [("answers.csv",)]


def test_without_an_answer_there_is_no_job(inn) -> None:
    job_id = asked_job(inn)
    assert send(inn, job_id, [{"custom_id": "c1"}]) == Clarified(None, 0, 3, ())
    assert inn.submit(["next"]) == job_id + 1, "no number is lost"


def test_a_linked_job_is_its_parents_in_everything(inn) -> None:
    job_id = asked_job(inn, weight=2.0)
    linked = send(inn, job_id, [{"custom_id": "c1", "answer": "1"}]).job_id
    other = inn.submit(["b"])
    assert [line.id for line in inn.ask(list_jobs)] == [other, job_id, linked]
    assert [line.id for line in inn.ask(list_jobs, limit=1)] == [other]
    assert [line.id for line in inn.ask(list_jobs, active=True)] == [other, job_id, linked]
    assert inn.ask(job_view, linked).weight == 2
    with pytest.raises(ConflictError, match=f"job_{job_id}"):
        inn.ask(to_clarify, linked)
    inn.run(lambda ctx: pause(ctx, 1, job_id))
    assert inn.ask(job_view, linked).paused
    with pytest.raises(ConflictError, match=f"job_{linked} is in_progress"):
        inn.run(lambda ctx: delete(ctx, 1, job_id))
    end(inn, linked)
    with pytest.raises(ConflictError, match="goes with it"):
        inn.run(lambda ctx: delete(ctx, 1, linked))
    inn.run(lambda ctx: delete(ctx, 1, job_id))
    assert inn.rows("select id from jobs") == [(other,)]
    assert inn.rows("select count(*) from links") == [(0,)]
    assert inn.rows("select distinct job_id from requests") == [(other,)]


def test_answers_that_come_after_the_deadline_need_one_of_their_own(inn) -> None:
    job_id = asked_job(inn)
    inn.rows("update jobs set deadline = now() - interval '1 minute'")
    with pytest.raises(ConflictError, match="--deadline"):
        send(inn, job_id, [{"custom_id": "c1", "answer": "1"}])
    linked = send(
        inn, job_id, [{"custom_id": "c1", "answer": "1"}], deadline=timedelta(hours=1)
    ).job_id
    assert inn.rows("select deadline > now() from jobs where id = %s", linked) == [(True,)]
