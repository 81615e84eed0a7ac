"""The whole yard's numbers: read seldom, told whole or not at all."""

from collections.abc import Callable
from math import isnan

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from core.errors import ServiceError
from db.overview import Backlog, DeploymentState, Overview, Worker
from db.totals import Totals
from db.vitals import Vital
from tests.conftest import DEPLOYMENTS
from workers.telemetry import yard_series
from workers.telemetry.yard_series import YardSeries

SEEN = Totals(
    Overview(
        active_jobs=1,
        unrouted=4,
        backlog=(Backlog("small", "planned", 70, 12.5), Backlog("small", "waiting", 5, -3.0)),
        tickets={("lab", "running"): 2},
        deployments=(DeploymentState("small", "cooling", "failures", "3 failures", 1.0, 8.0),),
        workers=(
            Worker(1, "call1@a", "a", 10, -4.0, 60.0, 0),
            Worker(2, "call1@a", "a", 11, 9.0, 5.0, 64),
        ),
        vitals={"small": Vital("small", 3, 30, 10, 250.0, 12.0, 4.5)},
    ),
    jobs={"in_progress": 1, "completed": 3},
    spent_nusd=2_500_000_000,
    reserved_nusd=1_000_000,
    unknown=6,
    unpriced=0,
)


def told(read: Callable[[], Totals | None], times: int = 1) -> str:
    series = CollectorRegistry()
    one = YardSeries(read, DEPLOYMENTS)
    # Registering asks once for the names.
    series.register(one)
    return [generate_latest(series).decode() for _ in range(times)][-1]


def value(text: str, name: str, *labels: str) -> float:
    [found] = [
        line
        for line in text.splitlines()
        if line.split("{")[0].split(" ")[0] == name and all(label in line for label in labels)
    ]
    return float(found.rpartition(" ")[2])


def test_what_waits_where_and_for_how_long() -> None:
    text = told(lambda: SEEN)
    small = 'deployment="small"'
    assert value(text, "batchyard_backlog_requests", small, 'standing="planned"') == 70
    assert value(text, "batchyard_backlog_requests", small, 'standing="bound"') == 0
    assert value(text, "batchyard_backlog_oldest_seconds", small, 'standing="planned"') == 12.5
    # Due later is not late.
    assert value(text, "batchyard_backlog_oldest_seconds", small, 'standing="waiting"') == 0
    assert value(text, "batchyard_unrouted_requests") == 4


def test_a_deployment_is_in_one_state() -> None:
    text = told(lambda: SEEN)
    small, free = 'deployment="small"', 'deployment="free"'
    assert value(text, "batchyard_deployment_state", small, 'state="cooling"') == 1
    assert value(text, "batchyard_deployment_state", small, 'state="open"') == 0
    assert value(text, "batchyard_deployment_state", free, 'state="open"') == 1
    assert value(text, "batchyard_deployment_closed_seconds", small) == 8
    assert value(text, "batchyard_deployment_closed_seconds", free) == 0


def test_how_deployments_fare() -> None:
    text = told(lambda: SEEN)
    small, free = 'deployment="small"', 'deployment="free"'
    assert value(text, "batchyard_deployment_latency_seconds", small) == 0.25
    assert value(text, "batchyard_deployment_output_tokens", small) == 12
    assert value(text, "batchyard_deployment_calls_per_second", small) == 4.5
    assert value(text, "batchyard_deployment_failed_ratio", small) == 0.25
    # Nobody has called it: no latency is not a short one.
    assert isnan(value(text, "batchyard_deployment_latency_seconds", free))
    assert isnan(value(text, "batchyard_deployment_failed_ratio", free))
    assert value(text, "batchyard_deployment_calls_per_second", free) == 0


def test_a_worker_that_was_started_again_is_not_shown_as_dead() -> None:
    text = told(lambda: SEEN)
    assert value(text, "batchyard_lease_seconds", "call1@a") == 9
    assert value(text, "batchyard_workers", 'lease="out"') == 1


def test_money_and_jobs() -> None:
    text = told(lambda: SEEN)
    assert value(text, "batchyard_money_usd", 'state="spent"') == 2.5
    assert value(text, "batchyard_jobs", 'status="completed"') == 3
    assert value(text, "batchyard_jobs", 'status="failed"') == 0
    assert value(text, "batchyard_uncertain_calls", 'what="unknown"') == 6


def test_it_is_read_seldom_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    told(lambda: reads.append(1) or SEEN, times=10)
    assert len(reads) == 1
    monkeypatch.setattr(yard_series, "FRESH", 0.0)
    told(lambda: reads.append(1) or SEEN, times=3)
    assert len(reads) > 3


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("away"), TimeoutError(), ServiceError("no yard")]
)
def test_while_postgres_is_away_nothing_old_is_told(error: Exception) -> None:
    def fails() -> None:
        raise error

    with capture_logs() as lines:
        text = told(fails)
    assert value(text, "batchyard_yard_told") == 0
    assert "batchyard_backlog" not in text
    assert lines[-1]["event"] == "the yard's numbers cannot be read"


def test_another_process_tells() -> None:
    assert "batchyard_jobs" not in told(lambda: None)
