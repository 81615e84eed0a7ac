"""Routing real jobs into planned chunks."""

from typing import Any

from tasks.route import route


def planned(inn: Any, job_id: int) -> list[tuple[Any, ...]]:
    return list(
        inn.rows(
            "select deployment, size, tokens, bounds from chunks"
            " where job_id = %s and status = 'planned' order by id",
            job_id,
        )
    )


def test_every_request_is_planned_once_in_chunks_of_at_most_200(inn: Any) -> None:
    job_id = inn.submit([{"prompt": f"question {n}"} for n in range(450)])
    inn.run(lambda ctx: route(ctx, job_id))
    chunks = planned(inn, job_id)
    assert [chunk[1] for chunk in chunks] == [200, 200, 50]
    seqs = inn.rows("select unnest(seqs) from chunks where job_id = %s and kind = 'call'", job_id)
    assert sorted(row[0] for row in seqs) == list(range(450))
    assert ("dispatch", ("",)) in inn.bell.rung


def test_requests_of_different_targets_travel_apart(inn: Any) -> None:
    job_id = inn.submit(
        [{"prompt": "a", "model": "small"}, {"prompt": "b", "model": "no-price"}] * 3
    )
    inn.run(lambda ctx: route(ctx, job_id))
    assert sorted((chunk[0], chunk[1]) for chunk in planned(inn, job_id)) == [
        ("free", 3),
        ("small", 3),
    ]


def test_a_bound_is_never_below_what_the_request_may_cost(inn: Any) -> None:
    """1 and 2 dollars per million tokens: a byte is at most a token, so at least that."""
    job_id = inn.submit([{"prompt": "x" * 1000, "max_tokens": 50}])
    inn.run(lambda ctx: route(ctx, job_id))
    ((_, _, (tokens,), (bound,)),) = planned(inn, job_id)
    assert tokens < 1000
    assert bound >= 1000 * 1000 + 50 * 2000


def test_what_has_no_bound_is_refused_under_a_budget_and_called_without_one(inn: Any) -> None:
    part = {"type": "file", "file": {"file_id": "file-elsewhere"}}
    lines = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "sum up"}, part]}]},
        {"prompt": "plain"},
    ]
    limited = inn.submit(lines, budget_nusd=10**9)
    inn.run(lambda ctx: route(ctx, limited))
    assert [chunk[1] for chunk in planned(inn, limited)] == [1]
    ((seq, status, error),) = inn.rows(
        "select seq, status, error from results where job_id = %s", limited
    )
    assert (seq, status) == (0, "failed")
    assert "no upper bound" in error
    free = inn.submit(lines)
    inn.run(lambda ctx: route(ctx, free))
    assert sum(chunk[1] for chunk in planned(inn, free)) == 2


def test_routing_twice_plans_nothing_twice(inn: Any) -> None:
    job_id = inn.submit([{"prompt": "once"}])
    inn.run(lambda ctx: route(ctx, job_id))
    inn.run(lambda ctx: route(ctx, job_id))
    assert len(planned(inn, job_id)) == 1
