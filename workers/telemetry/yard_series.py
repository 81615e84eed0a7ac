"""The whole yard's numbers as Prometheus series, read from Postgres when somebody asks.

One process tells them, the oldest living control worker, so that a sum over all processes is
right. They are read at most every `FRESH` seconds, however many ask. While Postgres is away the
series are absent and `batchyard_yard_told` is 0.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from psycopg import Error as PostgresError
from typing_extensions import override

from core.deployment import Deployment
from core.errors import BatchyardError
from core.status import DeploymentStatus, JobStatus
from db.overview import Overview
from db.totals import Totals
from db.vitals import Vital
from workers.telemetry.series import DEPLOYMENT, NANO, Labels, gauge

log = structlog.get_logger()

FRESH = 5.0
STANDINGS = {"planned": "planned", "ready": "bound", "waiting": "waiting", "leased": "leased"}
STATES = tuple(DeploymentStatus)
LIMITS = ("rpm", "tpm", "input_tpm", "output_tpm", "in_flight")
OPEN = DeploymentStatus.OPEN


class YardSeries(Collector):
    """`read` gives the numbers, None where another process tells them; it raises psycopg.Error,
    TimeoutError or BatchyardError where it cannot."""

    def __init__(
        self, read: Callable[[], Totals | None], deployments: Mapping[str, Deployment]
    ) -> None:
        self._read = read
        self._deployments = deployments
        self._lock = threading.Lock()
        self._seen: Totals | None = None
        self._at = -FRESH

    @override
    def collect(self) -> Iterable[Metric]:
        seen = self._fresh()
        told: dict[Labels, float] = {(): float(seen is not None)}
        yield gauge(
            "batchyard_yard_told", "Whether this process tells the whole yard's numbers.", (), told
        )
        if seen is None:
            return
        yield from self._backlog(seen.overview)
        yield from self._states(seen.overview)
        yield from self._vitals(seen.overview)
        yield from _processes(seen.overview)
        yield from _totals(seen)

    def _fresh(self) -> Totals | None:
        with self._lock:
            if time.monotonic() - self._at >= FRESH:
                self._seen = self._look()
                self._at = time.monotonic()
            return self._seen

    def _look(self) -> Totals | None:
        try:
            return self._read()
        except (PostgresError, TimeoutError, BatchyardError) as error:
            log.warning("the yard's numbers cannot be read", reason=type(error).__name__)
            return None

    def _names(self) -> dict[str, tuple[str, str]]:
        return {name: (name, one.provider) for name, one in self._deployments.items()}

    def _backlog(self, seen: Overview) -> Iterable[Metric]:
        names = self._names()
        requests: dict[Labels, float] = {
            (*labels, standing): 0 for labels in names.values() for standing in STANDINGS.values()
        }
        oldest = dict(requests)
        for one in seen.backlog:
            key = (*names.get(one.deployment, (one.deployment, "")), STANDINGS[one.status])
            requests[key] = one.requests
            oldest[key] = max(0.0, one.age)
        labels = (*DEPLOYMENT, "standing")
        yield gauge(
            "batchyard_backlog_requests",
            "Requests that wait: planned (not dispatched), bound (to a deployment), waiting (for "
            "a retry), leased (by a worker, not sent).",
            labels,
            requests,
        )
        yield gauge(
            "batchyard_backlog_oldest_seconds",
            "How long the oldest of them has been due.",
            labels,
            oldest,
        )
        yield gauge(
            "batchyard_unrouted_requests", "Requests to be routed.", (), {(): seen.unrouted}
        )
        providers = {one.provider for one in self._deployments.values()}
        yield gauge(
            "batchyard_tickets",
            "Tickets by provider: queued, or running as a lane.",
            ("provider", "status"),
            {
                (provider, status): seen.tickets.get((provider, status), 0)
                for provider in sorted(providers)
                for status in ("queued", "running")
            },
        )

    def _states(self, seen: Overview) -> Iterable[Metric]:
        found = {one.deployment: one for one in seen.deployments}
        states: dict[Labels, float] = {}
        closed: dict[Labels, float] = {}
        limits: dict[Labels, float] = {}
        for name, labels in self._names().items():
            row = found.get(name)
            now = row.condition.shown if row else OPEN
            states |= {(*labels, state): float(state == now) for state in {*STATES, now}}
            closed[labels] = max(0.0, row.left or 0.0) if row and now != OPEN else 0.0
            buckets = self._deployments[name].buckets
            declared = {(*labels, kind): getattr(buckets, kind) for kind in LIMITS}
            limits |= {key: most for key, most in declared.items() if most is not None}
        yield gauge(
            "batchyard_deployment_state",
            "1 for the state that a deployment is in, 0 for all others.",
            (*DEPLOYMENT, "state"),
            states,
        )
        yield gauge(
            "batchyard_deployment_closed_seconds",
            "Seconds until a closed deployment may open again; 0 where it is open or nobody knows.",
            DEPLOYMENT,
            closed,
        )
        yield gauge(
            "batchyard_limit",
            "Declared limits: requests and tokens a minute, calls in flight.",
            (*DEPLOYMENT, "kind"),
            limits,
        )

    def _vitals(self, seen: Overview) -> Iterable[Metric]:
        vitals = {name: seen.vitals.get(name, Vital(name)) for name in self._deployments}
        labels = self._names()
        for series, about, read in VITALS:
            members: dict[Labels, float] = {labels[name]: read(one) for name, one in vitals.items()}
            yield gauge(series, about, DEPLOYMENT, members)


def _seconds(one: Vital) -> float:
    return math.nan if one.latency_ms is None else one.latency_ms / 1000


def _output(one: Vital) -> float:
    return math.nan if one.output_tokens is None else one.output_tokens


def _failed(one: Vital) -> float:
    calls = one.answered + one.failed
    return one.failed / calls if calls else math.nan


VITALS: tuple[tuple[str, str, Callable[[Vital], float]], ...] = (
    (
        "batchyard_deployment_latency_seconds",
        "How long an answer takes lately, over all workers; NaN where nobody knows.",
        _seconds,
    ),
    (
        "batchyard_deployment_output_tokens",
        "Tokens that an answer brings lately; NaN where nobody knows.",
        _output,
    ),
    (
        "batchyard_deployment_calls_per_second",
        "Calls that end, a second, over about ten seconds; those that were throttled are none.",
        lambda one: one.rate,
    ),
    (
        "batchyard_deployment_failed_ratio",
        "Share of the living workers' calls that failed, throttled ones apart; NaN without any.",
        _failed,
    ),
)
"""What dispatch goes by when it chooses among deployments."""


def _processes(seen: Overview) -> Iterable[Metric]:
    leases: dict[Labels, float] = {}
    for one in seen.workers:
        # A worker that was started again has its old row for a while yet.
        leases[one.kind,] = max(one.lease, leases.get((one.kind,), one.lease))
    yield gauge(
        "batchyard_lease_seconds",
        "Seconds that each worker's lease is good for; below zero it has run out.",
        ("worker",),
        leases,
    )
    yield gauge(
        "batchyard_workers",
        "Workers by whether their lease is good.",
        ("lease",),
        {
            ("good",): sum(one.lease > 0 for one in seen.workers),
            ("out",): sum(one.lease <= 0 for one in seen.workers),
        },
    )


def _totals(seen: Totals) -> Iterable[Metric]:
    yield gauge(
        "batchyard_jobs",
        "Jobs that are kept, by status.",
        ("status",),
        {(status.value,): seen.jobs.get(status.value, 0) for status in JobStatus},
    )
    yield gauge(
        "batchyard_money_usd",
        "Dollars over all projects: spent, and reserved for calls on their way.",
        ("state",),
        {("spent",): seen.spent_nusd / NANO, ("reserved",): seen.reserved_nusd / NANO},
    )
    yield gauge(
        "batchyard_uncertain_calls",
        "Calls of the jobs that are kept whose end or whose price nobody knows.",
        ("what",),
        {("unknown",): seen.unknown, ("unpriced",): seen.unpriced},
    )
