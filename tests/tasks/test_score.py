"""Scoring real jobs, in pieces, as answers come."""

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from core.errors import InputError
from db.scores import job_scores
from tasks.finish import finish
from tasks.meters import RouterMeters
from tasks.score import ring_scores, score
from tests.conftest import DEPLOYMENTS, SETTINGS
from workers.telemetry.router_series import RouterSeries

LETTERS = "ABCD"


def submitted(inn: Any, count: int, **options: Any) -> int:
    lines = [{"prompt": f"{n}?", "metadata": {"right": LETTERS[n % 4]}} for n in range(count)]
    return int(inn.submit(lines, **{"gold": "right", "scorer": "choice", **options}))


def answer(inn: Any, job: int, seqs: Any, text: str = "The answer is A.", round_: int = 1) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}}]})
    inn.rows(
        "insert into results (part, job_id, seq, round, status, deployment, n, body, commit_id)"
        " select %s, %s, u, %s, 'completed', 'small', 1, %s, 1 from unnest(%s::int[]) u",
        inn.part(job), job, round_, body, list(seqs),
    )  # fmt: skip


def end(inn: Any, job: int) -> None:
    inn.rows("update chunks set status = 'done' where job_id = %s", job)
    inn.rows("update jobs set status = 'in_progress', in_progress_at = now() where id = %s", job)
    inn.run(lambda ctx: finish(ctx, job))


def sums(inn: Any, job: int) -> list[tuple[str, str, int, float]]:
    found = inn.ask(job_scores, job)
    return [(one.scorer, one.deployment, one.count, one.total) for one in found.sums]


def test_answers_are_scored_as_they_come_and_all_after_the_end(inn: Any) -> None:
    job = submitted(inn, 40)
    answer(inn, job, range(20))
    told = inn.run(lambda ctx: score(ctx, job))
    assert told == f"20 answers of job_{job} scored"
    assert sums(inn, job) == [("choice", "small", 20, 5)]
    assert not inn.ask(job_scores, job).complete
    answer(inn, job, range(20, 40))
    inn.bell.rung.clear()
    end(inn, job)
    assert ("score", (job,)) in inn.bell.rung
    inn.run(lambda ctx: score(ctx, job))
    assert sums(inn, job) == [("choice", "small", 40, 10)]
    assert inn.ask(job_scores, job).complete
    assert inn.run(lambda ctx: score(ctx, job)) == f"nothing to score in job_{job}"
    assert inn.run(ring_scores) == 0


def test_scores_are_counted_for_those_who_watch(inn: Any) -> None:
    job = submitted(inn, 40)
    answer(inn, job, range(20))
    meters = RouterMeters()
    for _ in range(2):
        inn.run(lambda ctx: score(replace(ctx, router=meters), job))
    assert meters.scored == {("choice", "small"): 20}
    assert meters.points == {("choice", "small"): 5.0}
    series = CollectorRegistry()
    series.register(RouterSeries(meters, SETTINGS, DEPLOYMENTS))
    small = {"scorer": "choice", "deployment": "small", "provider": DEPLOYMENTS["small"].provider}
    assert series.get_sample_value("batchyard_scored_answers_total", small) == 20
    assert series.get_sample_value("batchyard_score_points_total", small) == 5
    assert (
        series.get_sample_value("batchyard_scored_answers_total", {**small, "scorer": "exact"}) == 0
    )


def test_a_large_job_is_scored_in_steps_that_go_on_where_the_last_one_ended(
    inn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(inn, 2500)
    answer(inn, job, range(2500))
    end(inn, job)
    monkeypatch.setattr("tasks.score.WORK_SECONDS", 0.0)
    for scored in (1000, 1000, 500):
        inn.bell.rung.clear()
        told = inn.run(lambda ctx: score(ctx, job))
        assert told == f"{scored} answers of job_{job} scored"
        assert inn.bell.rung == ([] if scored < 1000 else [("score", (job,))])
    assert sums(inn, job) == [("choice", "small", 2500, 625)]


def test_only_the_last_rounds_answer_counts(inn: Any) -> None:
    job = submitted(inn, 4)
    answer(inn, job, range(4), "D")
    end(inn, job)
    inn.run(lambda ctx: score(ctx, job))
    assert sums(inn, job) == [("choice", "small", 4, 1)]
    inn.rows("update jobs set status = 'in_progress', ended_at = null where id = %s", job)
    answer(inn, job, range(2), "A", round_=2)
    end(inn, job)
    inn.run(lambda ctx: score(ctx, job))
    assert sums(inn, job) == [("choice", "small", 4, 2)]


def test_a_lost_bell_is_rung_again(inn: Any) -> None:
    job = submitted(inn, 4)
    inn.run(lambda ctx: score(ctx, job))
    assert inn.run(ring_scores) == 0
    end(inn, job)
    inn.bell.rung.clear()
    assert inn.run(ring_scores) == 1
    assert inn.bell.rung == [("score", (job,))]


def test_failed_requests_and_those_without_a_right_answer_have_no_score(inn: Any) -> None:
    lines = [{"prompt": "a", "metadata": {"right": "Paris"}}, {"prompt": "b"}, {"prompt": "c"}]
    lines[2]["metadata"] = {"right": "Rome"}
    job = inn.submit(lines, gold="right")
    answer(inn, job, [0, 1], "paris.")
    inn.put("results", part=inn.part(job), job_id=job, seq=2, round=1, status="failed", commit_id=0)
    end(inn, job)
    inn.run(lambda ctx: score(ctx, job))
    assert sums(inn, job) == [("exact", "small", 1, 1)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gold": "rigth"}, r"no line has 'rigth' in its metadata. There is right"),
        ({"gold": None}, "A scorer needs right answers"),
        ({"scorer": "bleu"}, "'bleu' is no scorer"),
        ({"scorer": "choice:x,y"}, "is none of the options"),
    ],
)
def test_what_could_never_be_scored_is_refused(inn: Any, options: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        submitted(inn, 4, **options)
    assert inn.rows("select id from jobs") == []
