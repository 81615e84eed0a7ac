import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, InputError, NotFoundError
from core.settings import ProjectSettings
from db.parts import is_own, own_part
from tasks.context import Context
from tasks.intake.sources import estimate_lines
from tasks.submit import SubmitOptions, submit


def test_both_shapes_become_requests(inn, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    body = {"model": "my-8b", "messages": [{"role": "user", "content": "a"}], "temperature": 0.5}
    batch = {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body}
    short = {"prompt": "Zürich?", "max_tokens": 5, "metadata": {"k": 1}}
    lines = ["\ufeff" + json.dumps(batch), "", json.dumps(short, ensure_ascii=False)]
    path.write_text("\n".join(lines), encoding="utf-8")
    job_id = inn.submit(path, name="n", metadata={"team": "nlp"})
    rows = inn.rows("select job_id, seq, row, custom_id, target, body, metadata from requests")
    assert [row[:5] for row in rows] == [
        (job_id, 0, 1, "x", "my-8b"),
        (job_id, 1, 3, "request-3", "default"),
    ]
    assert json.loads(rows[0][5]) == {k: v for k, v in body.items() if k != "model"}
    message = {"role": "user", "content": "Zürich?"}
    assert json.loads(rows[1][5]) == {"max_tokens": 5, "messages": [message]}
    assert [row[6] for row in rows] == [None, '{"k": 1}']
    job = "select status, total, name, route, source, metadata, config_digest from jobs"
    digest = inn.settings.digest()
    assert inn.rows(job) == [
        ("in_progress", 2, "n", "default", "in.jsonl", {"team": "nlp"}, digest)
    ]
    assert inn.bell.rung == [("route", (job_id,))]


def test_route_chunks_cover_every_request_once(inn) -> None:
    inn.submit(f"question {n}" for n in range(4001))
    chunks = inn.rows(
        "select size, seqs, tries, calls, tokens, kind, status from chunks order by id"
    )
    assert [chunk[0] for chunk in chunks] == [2000, 2000, 1]
    assert [seq for chunk in chunks for seq in chunk[1]] == list(range(4001))
    assert all(set(chunk[2] + chunk[3] + chunk[4]) == {0} for chunk in chunks)
    assert {chunk[5:] for chunk in chunks} == {("route", "ready")}


def test_a_bad_input_is_refused_whole_with_all_its_problems(inn) -> None:
    lines: list[Any] = [
        {"custom_id": "a", "prompt": "1"},
        b"{oops",
        {"custom_id": "a", "prompt": "2"},
        {"prompt": "3", "model": "my-8"},
        {"custom_id": "a", "prompt": "4"},
    ]
    with pytest.raises(InputError) as caught:
        inn.submit(lines)
    problems = caught.value.problems
    assert [(problem.line, problem.code) for problem in problems] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
        (4, "model_not_found"),
        (5, "duplicate_custom_id"),
    ]
    assert "item 1" in problems[1].problem
    assert "Did you mean 'my-8b'" in problems[2].fix
    for table in ("jobs", "requests", "chunks", "accounts where kind = 'job'"):
        assert inn.rows(f"select 1 from {table}") == []
    assert inn.bell.rung == []


def test_a_refused_submit_costs_no_number(inn) -> None:
    first = inn.submit(["a"])
    for _ in range(3):
        with pytest.raises(InputError):
            inn.submit([b"{"])
    assert inn.submit(["b"]) == first + 1


def test_no_more_than_a_hundred_problems(inn) -> None:
    with pytest.raises(InputError, match="at least 100 bad items") as caught:
        inn.submit([b"{"] * 5000)
    assert len(caught.value.problems) == 100


@pytest.mark.parametrize("lines", [[], [b"", b"  \n"]])
def test_an_empty_input_is_refused(inn, lines: list[bytes]) -> None:
    with pytest.raises(InputError, match="there is no request in python") as caught:
        inn.submit(lines)
    assert "skip" not in str(caught.value)


def test_a_missing_file_is_said(inn, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        inn.submit(tmp_path / "none.jsonl")


def test_bad_lines_may_be_kept_as_failed_results(inn) -> None:
    lines: list[Any] = [
        "good",
        {"custom_id": "mine", "prompt": 7},
        {"custom_id": "twice", "prompt": "1"},
        {"custom_id": "twice", "prompt": "2"},
        b"\xff",
        {"custom_id": "twice", "prompt": 9},
    ]
    job_id = inn.submit(lines, skip_bad_lines=True)
    rows = inn.rows(
        "select seq, status, error::jsonb, custom_id, round from results "
        "join requests using (part, job_id, seq) order by seq"
    )
    assert [(row[0], row[1], row[2]["code"], row[2]["line"], row[3], row[4]) for row in rows] == [
        (1, "failed", "invalid_request", 2, "mine", 1),
        # Results are joined by custom_id: only one of them has it.
        (3, "failed", "duplicate_custom_id", 4, "request-4", 1),
        (4, "failed", "invalid_json_line", 5, "request-5", 1),
        (5, "failed", "invalid_request", 6, "request-6", 1),
    ]
    assert '"twice" was already used on line 3' in rows[1][2]["message"]
    assert inn.rows("select distinct target from requests") == [("default",)]
    assert inn.rows("select seqs from chunks") == [([0, 2],)]
    assert inn.rows("select deployment, failed from job_counters") == [("", 4)]
    assert inn.rows("select total from jobs") == [(6,)]
    assert inn.bell.rung == [("route", (job_id,))]


def test_nothing_but_bad_lines_goes_straight_to_its_end(inn) -> None:
    job_id = inn.submit([b"{", b"["], skip_bad_lines=True)
    assert inn.bell.rung == [("finish", (job_id,))]


def test_a_budget_needs_known_prices(inn) -> None:
    with pytest.raises(ConfigError, match=r"deployments\.free\.price"):
        inn.submit(["a"], route="mixed", budget_nusd=10**9)
    with pytest.raises(ConfigError, match=r"deployments\.free\.price"):
        inn.submit(["a", {"prompt": "b", "model": "no-price"}], budget_nusd=10**9)
    assert inn.rows("select 1 from jobs") == []
    inn.submit(["a"], route="mixed")
    inn.submit([{"prompt": "a", "model": "small"}], route="free", budget_nusd=5)
    inn.submit(["a"], budget_nusd=10**9)
    limits = inn.rows("select limit_nusd from accounts where kind = 'job' order by id")
    assert limits == [(None,), (5,), (10**9,)]


def test_an_unknown_route_is_refused_with_the_nearest(inn) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'mixed'"):
        inn.submit(["a"], route="mixd")


def test_a_lost_bell_does_not_lose_the_job(inn) -> None:
    inn.bell.error = ConnectionError("no broker")
    assert inn.submit(["a"]) > 0
    assert inn.rows("select status from jobs") == [("in_progress",)]


def test_a_large_job_has_a_part_of_its_own(inn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.parts.LARGE_JOB", 3)
    inn.submit(["a"] * 4)
    inn.submit(["a"] * 4)
    inn.submit(["a"] * 3)
    jobs = inn.rows("select id, part from jobs order by id")
    assert [part for _, part in jobs[:2]] == [own_part(id_) for id_, _ in jobs[:2]]
    assert not is_own(jobs[2][1])
    assert inn.rows("select custom_id from requests where job_id = %s", jobs[1][0])[3:] == [
        ("request-4",)
    ]
    with pytest.raises(InputError):
        inn.submit([b"{"] * 4)
    assert len(inn.rows("select id from parts")) == 3
    assert len(inn.rows("select 1 from pg_class where relname ~ '^requests_p[0-9]+$'")) == 3


def test_a_custom_id_twice_in_a_large_job_or_out_of_order_is_found(
    inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for large in (10, 3):
        monkeypatch.setattr("db.parts.LARGE_JOB", large)
        for names in (["a", "b", "c", "a"], ["b", "a", "b", "c"], ["a", "a", "b", "c"]):
            with pytest.raises(InputError, match="already used"):
                inn.submit([{"prompt": "x", "custom_id": name} for name in names])
        with pytest.raises(InputError, match="already used on item 1"):
            inn.submit([{"prompt": "x", "custom_id": "request-4"}, "a", "b", "c"])
        inn.submit([{"prompt": "x", "custom_id": name} for name in ("z", "a1", "b", "a2")])


def test_progress_hears_of_the_end(inn) -> None:
    heard: list[int] = []
    inn.run(lambda ctx: submit(ctx, ["a"] * 7, SubmitOptions(), heard.append))
    assert heard == [7]


def test_many_at_once_make_the_month_once(inn) -> None:
    async def twelve(ctx: Context) -> list[int]:
        jobs = (submit(ctx, [f"{n}"], SubmitOptions()) for n in range(12))
        return await asyncio.gather(*jobs)

    assert len(set(inn.run(twelve))) == 12


def test_an_own_part_is_estimated_from_the_size_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_text('{"prompt": "hello"}\n' * 200_000)
    estimate = estimate_lines(path)
    assert estimate is not None
    assert 190_000 < estimate < 210_000


def test_a_job_has_its_weight_and_a_deadline_of_the_databases_clock(inn) -> None:
    inn.submit(["a"], weight=2.5, deadline=timedelta(hours=2))
    inn.submit(["b"], deadline=datetime(2126, 12, 1, 8, tzinfo=UTC))
    seconds = "round(extract(epoch from deadline - created_at) / 60)::int"
    assert inn.rows(f"select weight, {seconds} from jobs order by id limit 1") == [(2.5, 120)]
    assert inn.rows("select weight, deadline::text from jobs order by id offset 1") == [
        (1, "2126-12-01 08:00:00+00")
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": 0}, "weight is between"),
        ({"weight": float("nan")}, "weight is between"),
        ({"deadline": timedelta()}, "has passed"),
        ({"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, "has passed"),
        ({"project": "a b"}, "cannot be a project's name"),
    ],
)
def test_what_no_job_can_be_is_refused(inn, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        inn.submit(["a"], **options)
    assert inn.rows("select 1 from jobs") == []


def test_a_misspelt_project_is_refused_where_projects_are_configured(inn) -> None:
    settings = inn.settings.model_copy(update={"projects": {"research": ProjectSettings(weight=2)}})

    async def hand_in(ctx: Context, project: str) -> int:
        ctx = replace(ctx, settings=settings)
        return await submit(ctx, ["a"], SubmitOptions(project=project))

    with pytest.raises(NotFoundError, match="Did you mean research"):
        inn.run(lambda ctx: hand_in(ctx, "resaerch"))
    inn.run(lambda ctx: hand_in(ctx, "research"))
    inn.run(lambda ctx: hand_in(ctx, "default"))
    assert inn.rows("select name, weight from projects order by id") == [
        ("default", 1),
        ("research", 2),
    ]
