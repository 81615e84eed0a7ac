"""What the supervisor tells those who watch the yard: its own `/metrics`, and where the others are.

`run/prometheus-targets.json` lists them all, in the form of Prometheus' file_sd_configs.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from batchyard.embedded.home import SUPERVISOR, Home, State
from batchyard.embedded.service import Service
from batchyard.embedded.supervisor import cpu_of
from workers.telemetry.endpoint import new_registry, serve
from workers.telemetry.series import counter, gauge

SETTLED = (State.READY, State.DONE)
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class ServiceSeries(Collector):
    """The services of a home's yard, as its supervisor sees them."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @override
    def collect(self) -> Iterable[Metric]:
        record = self._home.record()
        if record is None:
            return
        yield gauge(
            "batchyard_service_up",
            "Whether a service is ready, or done where it runs once.",
            ("service",),
            {(one.name,): float(one.state in SETTLED) for one in record.services},
        )
        yield counter(
            "batchyard_service_restarts",
            "Times that a service ended by itself and was started again.",
            ("service",),
            {(one.name,): one.restarts for one in record.services},
        )
        yield counter(
            "batchyard_service_cpu_seconds",
            "CPU seconds of a service with all its processes, ended ones included.",
            ("service",),
            {(name,): seconds for name, seconds in cpu_of(record, alive=True).items()},
        )


def metrics_address(host: str, port: int) -> str:
    """host:port, as `BATCHYARD_METRICS` and Prometheus write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve_supervisor(home: Home, host: str, port: int) -> None:
    """Serves the supervisor's numbers from now on."""
    serve(new_registry(SUPERVISOR, ServiceSeries(home)), (host, port))


def targets_file(home: Home) -> Path:
    """Where a Prometheus on this machine finds all of the yard."""
    return home.run / "prometheus-targets.json"


def put_targets(home: Home, host: str, services: Iterable[Service], supervisor: int) -> None:
    """Writes the list of all that serve `/metrics`."""
    ports = {one.name: one.metrics for one in services if one.metrics is not None}
    targets = [
        _target(name, host, port) for name, port in {**ports, SUPERVISOR: supervisor}.items()
    ]
    text = msgspec.json.format(msgspec.json.encode(targets), indent=2)
    draft = home.run / "prometheus-targets.tmp"
    draft.write_bytes(text)
    draft.replace(targets_file(home))


def _target(name: str, host: str, port: int) -> Mapping[str, object]:
    where = metrics_address(WILDCARDS.get(host, host), port)
    return {"targets": [where], "labels": {"process": name}}
