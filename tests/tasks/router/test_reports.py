"""What a job's report reads in the database: what a pilot gave, what was drawn by lot."""

from typing import Any

import numpy as np
import pytest

from db.reports import read_done
from tasks.router.reports import JobReport, report, score_drift
from tests.routing.judged import judged
from tests.tasks.pilots import LINES, pilot_of, run_pilot, start
from tests.tasks.router.routed import PAID, routed


def told(inn: Any, job: int, scorer: str | None = None) -> JobReport:
    found = inn.ask(report, job, scorer)
    assert isinstance(found, JobReport)
    return found


def answer(inn: Any, job: int) -> None:
    """The requests that the job itself routed are answered by their first candidates, rightly."""
    rows = inn.rows(
        "select unnest(c.seqs), p.body -> 'candidates' ->> 0 from chunks c"
        " join plans p on p.id = c.plan_id where c.job_id = %s and c.kind = 'call'",
        job,
    )
    key = {"part": inn.part(job), "job_id": job, "round": 1}
    for seq, name in rows:
        one = {**key, "seq": seq, "commit_id": 1}
        inn.put("results", **one, status="completed", deployment=name, n=1, body="{}")
        spent = {"status": "ok", "cost_nusd": 9000, "bound_nusd": 9000, "latency_ms": 1}
        inn.put("attempts", **one, n=1, deployment=name, **spent)
        inn.put("scores", **key, seq=seq, scorer="exact", value=1.0)


def test_what_a_pilot_gave_stands_for_what_others_would_have(inn) -> None:
    job = start(inn)
    run_pilot(inn, job)
    answer(inn, job)
    found = told(inn, job)
    assert found.answered == 300, "what was taken over from the pilot is no call of the job"
    saved = found.saved
    assert saved is not None
    assert (saved.basis, saved.compared) == ("pilot", 100)
    sampled = [row for (row,) in inn.rows(
        "select distinct row - 1 from requests where job_id = %s", pilot_of(inn, job))]  # fmt: skip
    means = LINES.quality[sampled].mean(axis=0)
    by_name = dict(zip(found.names, saved.always, strict=True))
    for place, (name, paid) in enumerate((("small", 900), ("large", 9000))):
        worth, usd = by_name[name]
        assert worth.value == pytest.approx(float(means[place]))
        assert usd.value == pytest.approx(paid / 1e9)


def test_of_a_pilot_count_the_scores_of_one_scorer_and_answers_of_a_known_cost(inn) -> None:
    job = start(inn)
    run_pilot(inn, job)
    answer(inn, job)
    found = pilot_of(inn, job)
    before = told(inn, job).saved
    key = {"part": inn.part(job), "job_id": found, "seq": 0, "round": 1}
    for seq in range(200):
        inn.put("scores", **{**key, "seq": seq}, scorer="anna", value=0.0)
    inn.put("scores", **{**key, "job_id": job, "seq": 399}, scorer="anna", value=0.5)
    after = told(inn, job).saved
    assert before is not None
    assert after is not None
    assert after.always == before.always
    call = {"deployment": "small", "status": "unknown", "bound_nusd": 9, "latency_ms": 1}
    inn.put("attempts", **key, n=2, **call, cost_nusd=None, commit_id=2)
    without = told(inn, job).saved
    assert without is not None
    assert without.compared == 99, "a request one of whose answers has no known cost is left out"
    piloted = inn.ask(_piloted, inn.part(job), job, "anna")
    assert {one.score for one in piloted} == {0.0}
    assert len(piloted) == 200


async def _piloted(conn: Any, _project: int, part: int, job: int, scorer: str) -> Any:
    return (await read_done(conn, part, job, every=1, scorer=scorer)).piloted


def test_what_was_drawn_by_lot_tells_the_truth_where_predictions_are_wrong(inn) -> None:
    """`small` was foreseen as 0.3 better than it is."""
    job = routed(inn, rows=2000, explore=0.3, bias=0.3)
    found = told(inn, job)
    saved = found.saved
    assert saved is not None
    assert (saved.basis, saved.compared) == ("explored", 2000)
    truth = judged(2000, 7).quality.mean(axis=0)
    for place, name in enumerate(("small", "large")):
        worth, usd = saved.always[found.names.index(name)]
        assert worth.low <= float(truth[place]) <= worth.high
        assert usd.value == pytest.approx(PAID[place])
    assert found.names[saved.best] == "large"


def test_without_draws_the_same_job_is_told_by_predictions(inn) -> None:
    found = told(inn, routed(inn, bias=0.3))
    assert found.saved is not None
    assert found.saved.basis == "predicted"
    foreseen = [one.predicted for one in found.calibration]
    assert foreseen == sorted(foreseen)
    assert not np.isnan(foreseen).any()


def test_answers_that_are_worse_than_foreseen_are_told(inn) -> None:
    right, wrong = routed(inn, rows=600), routed(inn, rows=600, bias=0.3)
    calm = inn.ask(score_drift, right, "tickets")
    assert calm.outcome.verdict == "as foreseen"
    assert (calm.model, calm.scorer, calm.outcome.answers) == ("tickets version 1", "exact", 600)
    off = inn.ask(score_drift, wrong, "tickets").outcome
    assert off.gap.high < 0
    assert off.verdict == "worse than foreseen: train again"
    assert off.foreseen - off.measured == pytest.approx(-off.gap.value)
    assert inn.ask(score_drift, right, "another") is None
    assert inn.ask(score_drift, routed(inn, scored=False), "tickets") is None
