"""The `/metrics` address of one process.

BATCHYARD_METRICS says where: `host:port`, or `off`. Without it a process takes the first free
port from 9464 on, at the host of `yard.metrics` in batchyard.yaml (loopback by default).
"""

import errno
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from core.errors import ConfigError

log = structlog.get_logger()

VARIABLE = "BATCHYARD_METRICS"
OFF = "off"
FIRST_PORT, PORTS = 9464, 100


class _Build(Collector):
    """Which batchyard this is, and what the process is for."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @override
    def collect(self) -> Iterable[Metric]:
        info = InfoMetricFamily("batchyard_build", "The version that runs, and the process' kind.")
        info.add_metric((), {"version": _version(), "kind": self._kind})
        yield info


def new_registry(kind: str, *collectors: Collector) -> CollectorRegistry:
    """A registry with these series and the process' own CPU, memory and files."""
    series = CollectorRegistry()
    ProcessCollector(registry=series)
    for collector in (_Build(kind), *collectors):
        series.register(collector)
    return series


def address(environ: Mapping[str, str], host: str) -> tuple[str, int] | None:
    """(host, port) as the environment wants it; port 0 for the first free one, None for off.

    Raises ConfigError when the variable cannot be read.
    """
    text = environ.get(VARIABLE, "").strip()
    if text.lower() == OFF:
        return None
    if not text:
        return host, 0
    name, colon, port = text.rpartition(":")
    if not (colon and name and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(
            f"{VARIABLE}={text} is not an address. Write host:port, e.g. 0.0.0.0:9464, or off"
        )
    return name.strip("[]"), int(port)


def serve(registry: CollectorRegistry, where: tuple[str, int] | None) -> None:
    """Serves the registry in a thread of its own, and logs where. Work does not wait for those
    who watch: an address that is taken is only logged."""
    if where is None:
        return
    host, port = where
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            start_http_server(candidate, host, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and not port:
                continue
            log.error("no metrics", host=host, port=candidate, reason=str(error))
            return
        log.info("metrics are served", url=f"http://{_bracketed(host)}:{candidate}/metrics")
        return
    log.error("no metrics", host=host, reason=f"no free port from {FIRST_PORT} on")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _version() -> str:
    try:
        return version("batchyard")
    except PackageNotFoundError:
        return "unknown"
