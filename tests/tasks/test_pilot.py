"""A sample is tried on every candidate, a router learns of it, and the rest is routed by that."""

import json
import re
from decimal import Decimal

import pytest

from core.errors import InputError
from core.money import to_nusd
from core.pilot import PilotOptions
from db.jobs import job_view
from db.router_models import list_models
from tasks.context import Context
from tasks.pilot import pilot
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.db.kit import Kit, connect
from tests.tasks.pilots import LINES, OPTIONS, pilot_of, run_pilot, start, within


def test_the_sample_goes_to_every_candidate_and_the_rest_waits(inn) -> None:
    job_id = start(inn)
    found = pilot_of(inn, job_id)
    rows = inn.rows("select row, target, metadata from requests where job_id = %s", found)
    assert len(rows) == 200
    assert {row[1] for row in rows} == {"small", "large"}
    proofs = sum(json.loads(row[2])["topic"] == "proofs" for row in rows) / 200
    assert abs(proofs - sum(m["topic"] == "proofs" for m in LINES.metadata) / 400) < 0.02
    within(inn, lambda ctx: route(ctx, job_id))
    within(inn, lambda ctx: route(ctx, found))
    assert inn.rows("select distinct job_id, deployment from chunks where kind = 'call'") == [
        (found, "large"),
        (found, "small"),
    ]
    plans = inn.rows("select body -> 'candidates', body -> 'max_output' from plans order by id")
    assert sorted(plans) == [(["large"], 100), (["small"], 100)]
    assert f"400 requests wait for job_{found} (pilot)" in inn.ask(job_view, job_id).why


def test_a_model_learns_of_it_and_the_rest_is_routed_by_that(inn) -> None:
    job_id = start(inn)
    run_pilot(inn, job_id)
    [model] = inn.ask(list_models)
    assert (model.name, model.version, model.promoted) == ("tickets", 1, True)
    assert model.info["pilot"] == f"job_{pilot_of(inn, job_id)}"
    calls = inn.rows(
        "select body -> 'candidates' ->> 0, sum(size) from chunks c join plans p on p.id = plan_id"
        " where c.job_id = %s and kind = 'call' group by 1 order by 1",
        job_id,
    )
    assert {name for name, _ in calls} == {"large", "small"}
    assert sum(size for _, size in calls) == 300
    view = inn.ask(job_view, job_id)
    assert (view.completed, view.open) == (100, 300)
    assert "tickets version 1 learned of 100 prompts" in view.lesson
    results = "select count(*), min(deployment), max(deployment), max(n) from results"
    assert inn.rows(f"{results} where job_id = %s", job_id) == [(100, "large", "large", 0)]


def test_without_scores_the_job_goes_on_in_its_routes_order_and_says_so(inn) -> None:
    job_id = start(inn)
    run_pilot(inn, job_id, scored=False)
    assert inn.ask(list_models) == []
    view = inn.ask(job_view, job_id)
    assert "the pilot taught nothing: too few answers have a score (small 0, large 0" in view.lesson
    assert (view.completed, view.open) == (100, 300)
    [(first, count)] = inn.rows(
        "select body -> 'candidates' ->> 0, sum(size) from chunks c join plans p on p.id = plan_id"
        " where c.job_id = %s and kind = 'call' group by 1",
        job_id,
    )
    assert (first, count) == ("small", 300)


def test_a_budget_bounds_the_pilot_to_its_share(inn) -> None:
    """A request costs at most some 0.003 dollars on both together."""
    job_id = start(inn, budget_nusd=10**9)
    total = inn.rows("select count(*) from requests where job_id = %s", pilot_of(inn, job_id))[0][0]
    assert 40 <= total < 200
    within(inn, lambda ctx: route(ctx, pilot_of(inn, job_id)))
    [(bounds,)] = inn.rows(
        "select sum(b) from chunks c, unnest(bounds) as b where job_id = %s and kind = 'call'",
        pilot_of(inn, job_id),
    )
    assert 0 < bounds <= 0.2 * 10**9


def test_a_budget_that_covers_no_pilot_is_refused_with_one_that_would(inn) -> None:
    with pytest.raises(InputError, match="a pilot of 0 requests for certain") as told:
        start(inn, budget_nusd=10**7)
    assert inn.rows("select count(*) from jobs") == [(0,)]
    enough = re.search(r"a budget of \$([\d.]+),", str(told.value))
    assert enough is not None
    job_id = start(inn, budget_nusd=to_nusd(Decimal(enough[1])))
    assert inn.ask(job_view, job_id).linked[0].total == 200


def test_too_few_requests_for_a_pilot_are_refused(inn) -> None:
    with pytest.raises(InputError, match="Only 0 requests go by the route smart"):
        within(
            inn,
            lambda ctx: submit(
                ctx,
                [{"prompt": "a", "model": "small", "metadata": {"label": "a"}}] * 30,
                SubmitOptions(route="smart", pilot=OPTIONS, gold="label"),
            ),
        )


def test_a_pilot_needs_a_router_and_a_size(inn) -> None:
    with pytest.raises(InputError, match="with a router"):
        inn.submit(["a"], pilot=OPTIONS)
    with pytest.raises(InputError, match="20 to 20,000"):
        start(inn, PilotOptions(3, "label"))
    with pytest.raises(InputError, match="at most 1"):
        start(inn, PilotOptions(100, "label", 1.5))


def test_the_books_of_both_add_up(inn) -> None:
    """By true calls: answers that a job took over from its pilot are its results, and its pilot's
    costs."""
    job_id = start(inn, budget_nusd=10**10)
    found = pilot_of(inn, job_id)

    async def work(ctx: Context) -> tuple[int, int]:
        async with await connect(inn.database_url) as conn:
            kit = await Kit.open(conn)
            await route(ctx, found)
            await kit.run(found)
            await kit.conn.execute(
                b"insert into scores (part, job_id, seq, round, scorer, value)"
                b" select part, job_id, seq, round, 'exact', seq %% 3 / 2.0 from results"
                b" where job_id = %s",
                (found,),
            )
            await kit.clean()
            await conn.execute(b"update scorings set done = true where job_id = %s", (found,))
            await pilot(ctx, job_id)
            await pilot(ctx, job_id)
            await kit.clean()
            await route(ctx, job_id)
            await kit.run(job_id)
            report = await kit.clean()
            await conn.execute(b"update results set body = '{}' where job_id = %s", (found,))
            broken = await kit.audit(found)
        return report.facts["completed"], len(broken.violations)

    completed, violations = within(inn, work)
    assert completed == 400 + 200
    assert violations == 1
    view = inn.ask(job_view, job_id)
    assert view.status == "completed"
    assert sum(share.attempts for share in view.shares) == 300
    assert view.spent_nusd == view.cost_nusd + view.linked[0].cost_nusd
