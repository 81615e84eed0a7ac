import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import batchyard
from core.errors import ConflictError, InputError, NotFoundError, ServiceError
from db.finish import end_job
from tasks.context import Context


@pytest.fixture
def yard(inn, broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The environment of a yard without workers."""
    config = tmp_path / "batchyard.yaml"
    config.write_text(json.dumps(inn.settings.model_dump(mode="json", exclude_unset=True)))
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCHYARD_CONFIG", str(config))
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", inn.database_url)
    monkeypatch.setenv("BATCHYARD_BROKER_URL", broker_url)
    yield inn
    from_client = sys.modules.get("batchyard.client")
    if from_client is not None:
        from_client._sessions.close()


def answer_all(inn) -> None:
    """What workers would leave: an answer to every request, and the jobs' ends."""
    inn.rows(
        "insert into results (part, job_id, seq, round, status, deployment, body, commit_id) "
        "select part, job_id, seq, 1, 'completed', 'small', json_build_object('n', seq), 1 "
        "from requests on conflict do nothing"
    )
    inn.rows("update chunks set status = 'done'")
    jobs = [row[0] for row in inn.rows("select id from jobs where ended_at is null")]

    async def end(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            for job_id in jobs:
                await end_job(conn, job_id)

    inn.run(end)


def test_a_job_from_submit_to_results(yard) -> None:
    job = batchyard.submit(["a", {"prompt": "b", "custom_id": "two"}], name="mine", budget="1.5")
    assert job.id.startswith("job_")
    view = job.status()
    assert (view.status, view.total, view.open, view.name) == ("in_progress", 2, 2, "mine")
    assert view.limit_nusd == 1_500_000_000
    assert list(job.results()) == []
    answer_all(yard)
    assert job.wait(timeout=5).status == "completed"
    lines = list(job.results())
    assert [line["custom_id"] for line in lines] == ["request-1", "two"]
    assert [line["response"]["body"] for line in lines] == [{"n": 0}, {"n": 1}]
    assert b"request-1,completed" in b"".join(job.export("csv")).replace(b'"', b"")
    assert job.errors() == []
    again = batchyard.job(job.id)
    with pytest.raises(ConflictError):
        again.cancel()
    again.delete()
    with pytest.raises(NotFoundError):
        job.status()


def test_a_job_belongs_to_its_project(yard, monkeypatch: pytest.MonkeyPatch) -> None:
    job = batchyard.submit(["a"], project="research", weight=2, deadline="2h")
    view = job.status()
    assert (view.project, view.weight, view.paused) == ("research", 2, False)
    assert view.deadline is not None
    with pytest.raises(NotFoundError):
        batchyard.job(job.id)
    assert batchyard.job(job.id, project="research").status().total == 1
    monkeypatch.setenv("BATCHYARD_PROJECT", "research")
    assert batchyard.job(job.id).status().total == 1
    assert batchyard.submit(["b"]).status().project == "research"


def test_files_are_submitted_by_path_or_name(yard, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n')
    for source in (path, str(path)):
        assert batchyard.submit(source, metadata={"k": "v"}).status().source == "p.jsonl"


def test_one_jobs_results_feed_the_next(yard) -> None:
    first = batchyard.submit(f"{n}" for n in range(50))
    answer_all(yard)
    prompts = (f"again {line['custom_id']}" for line in first.results())
    assert batchyard.submit(prompts).status().total == 50


def test_it_works_inside_a_running_loop_and_in_threads(yard) -> None:
    async def notebook() -> int:
        return batchyard.submit(["a"]).status().total

    assert asyncio.run(notebook()) == 1
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(batchyard.submit(["a"]).id)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 4


def test_waiting_ends_with_its_time_and_says_why(yard) -> None:
    job = batchyard.submit(["a"])
    with pytest.raises(TimeoutError, match=r"no worker is alive"):
        job.wait(timeout=0.1, poll=0.02)


def test_waiting_sees_an_end_that_comes_later(yard) -> None:
    job = batchyard.submit(["a"])
    worker = threading.Thread(target=lambda: (time.sleep(0.2), answer_all(yard)))
    worker.start()
    assert job.wait(timeout=30, poll=0.05).status == "completed"
    worker.join()


@pytest.mark.parametrize("budget", [1, 0.25, "0.25", "$3", Decimal("1e-3")])
def test_budgets_are_dollars(yard, budget: Any) -> None:
    limit = batchyard.submit(["a"], budget=budget).status().limit_nusd
    assert limit == int(Decimal(str(budget).removeprefix("$")) * 10**9)


@pytest.mark.parametrize("budget", [0, -1, "much", float("nan"), True])
def test_no_dollars_are_no_budget(yard, budget: Any) -> None:
    with pytest.raises(InputError):
        batchyard.submit(["a"], budget=budget)


def test_errors_come_as_they_are(yard) -> None:
    with pytest.raises(InputError) as caught:
        batchyard.submit([{"prompt": 1}])
    assert caught.value.problems[0].line == 1
    batchyard.submit(["a"])
    for job_id in ("job_99999", "nonsense"):
        with pytest.raises(NotFoundError):
            batchyard.job(job_id)


def test_its_errors_are_the_packages_own(yard) -> None:
    assert {"submit", "Job", "InputError", "ServiceError"} <= set(dir(batchyard))
    with pytest.raises(batchyard.BatchyardError) as caught:
        batchyard.submit(["a", {"prompt": 1}, {"prompt": "c", "custom_id": ""}])
    assert isinstance(caught.value, batchyard.InputError)
    told = str(caught.value)
    assert "2 bad items" in told
    assert "item 2, prompt" in told
    assert "item 3, custom_id" in told
    assert "skip_bad_lines=True" in told
    assert "--" not in told
    with pytest.raises(batchyard.InputError, match="there is no request in python"):
        batchyard.submit([])


def test_a_cancelled_job_is_cancelling(yard) -> None:
    job = batchyard.submit(["a"])
    job.cancel()
    assert job.status().status == "cancelling"


def test_without_a_yard_the_way_to_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "CONFIG"):
        monkeypatch.delenv(f"BATCHYARD_{name}", raising=False)
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path / "none"))
    with pytest.raises(ServiceError, match="batchyard up"):
        batchyard.submit(["a"])


def test_the_bare_import_is_light() -> None:
    code = "import sys, batchyard; print([m for m in ('psycopg', 'celery') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError):
        _ = batchyard.nothing
