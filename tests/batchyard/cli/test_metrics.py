"""A running yard tells Prometheus about itself, and about a job that met errors."""

import pytest

from tests.batchyard.cli.conftest import KEY
from tests.batchyard.cli.scrape import total


def test_every_service_of_ours_has_its_metrics(yard, scraped) -> None:
    told = yard("ps", "--json").json["services"]
    ports = {one["name"]: one["metrics"] for one in told if one["metrics"]}
    ours = {"supervisor", "worker-control", "worker-call-1", "beat", "simulator", "flower"}
    assert set(ports) == ours
    assert set(scraped) == ours
    for name, (_, series) in scraped.items():
        assert total(series, "process_resident_memory_bytes") > 0, name


def test_calls_are_counted_by_what_became_of_them(scraped) -> None:
    series = scraped["worker-call-1"][1]
    ok = total(series, "batchyard_attempts_total", status="ok", deployment="small")
    throttled = total(series, "batchyard_attempts_total", error_class="throttled")
    assert ok >= 300
    assert throttled > 0
    assert total(series, "batchyard_retries_total") >= throttled
    assert total(series, "batchyard_pauses_total", deployment="small") == throttled
    assert total(series, "batchyard_commit_calls_sum") >= ok + throttled
    assert total(series, "batchyard_claimed_requests_total") >= 300
    assert total(series, "gen_ai_client_operation_duration_seconds_count", error_type="") == ok
    assert total(series, "batchyard_calls_in_flight") == 0


def test_what_was_captured_is_what_the_provider_billed(scraped) -> None:
    captured, billed = scraped["worker-call-1"][1], scraped["simulator"][1]
    for kind in ("input", "output"):
        tokens = total(captured, "batchyard_tokens_total", kind=kind)
        assert tokens == total(billed, "batchyard_simulator_billed_tokens_total", kind=kind) > 0
        usage = total(captured, "gen_ai_client_token_usage_sum", gen_ai_token_type=kind)
        assert usage == tokens
    spent = total(captured, "batchyard_cost_usd_total", basis="usage")
    assert spent == pytest.approx(
        total(scraped["worker-control"][1], "batchyard_money_usd", state="spent")
    )


def test_the_yards_own_numbers_are_told_once(scraped) -> None:
    tellers = {name for name, (_, s) in scraped.items() if total(s, "batchyard_yard_told")}
    assert tellers == {"worker-control"}
    series = scraped["worker-control"][1]
    assert total(series, "batchyard_jobs", status="completed") >= 1
    assert total(series, "batchyard_backlog_requests") == 0
    assert total(series, "batchyard_workers", lease="good") == 2
    state = {"deployment": "small", "provider": "lab"}
    assert total(series, "batchyard_deployment_state", **state) == 1
    assert total(series, "batchyard_deployment_state", state="open", **state) == 1
    assert total(series, "batchyard_limit", kind="in_flight", **state) == 32
    assert total(series, "batchyard_step_seconds_count", step="dispatch") > 0


def test_the_supervisor_tells_what_it_runs(scraped) -> None:
    series = scraped["supervisor"][1]
    for name in ("postgres", "valkey", "worker-control", "worker-call-1", "beat"):
        assert total(series, "batchyard_service_up", service=name) == 1
        assert total(series, "batchyard_service_cpu_seconds_total", service=name) > 0


def test_nothing_tells_a_job_a_prompt_or_a_key(scraped) -> None:
    for name, (text, series) in scraped.items():
        assert KEY not in text, name
        assert "Say " not in text, name
        labels = {label for _, has in series for label, _ in has}
        assert not labels & {"job", "job_id", "seq", "custom_id", "ticket"}, name
