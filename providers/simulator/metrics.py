"""The simulator's `/metrics`: what it was asked, what it billed, what it did on purpose."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from providers.simulator.provider import Provider

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NANO = 1e9


class _Series(Collector):
    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    @override
    def collect(self) -> Iterable[Metric]:
        calls = _counter("calls", "Calls by how they ended (reset and hang too).", "status")
        faults = _counter("faults", "Faults that were wanted.", "fault")
        limited = _counter("limited", "Calls refused by a limit.", "limit")
        billed = _counter(
            "billed_calls", "Calls billed, whether or not the reply arrived.", "model"
        )
        usd = _counter("billed_usd", "Dollars billed.", "model")
        tokens = _counter("billed_tokens", "Tokens billed.", "model", "kind")
        flying = GaugeMetricFamily(
            "batchyard_simulator_calls_in_flight", "Calls being answered.", labels=["provider"]
        )
        for one in self._providers:
            stats, name = one.stats, one.name
            for family, counts in (
                (calls, stats.status), (faults, stats.faults), (limited, stats.limited),
            ):  # fmt: skip
                for what, count in counts.items():
                    family.add_metric((name, what), count)
            for model, tally in stats.models.items():
                billed.add_metric((name, model), tally.billed_calls)
                usd.add_metric((name, model), tally.billed_nusd / NANO)
                tokens.add_metric((name, model, "input"), tally.prompt_tokens)
                tokens.add_metric((name, model, "output"), tally.completion_tokens)
            flying.add_metric((name,), one.open_calls.now)
        yield from (calls, faults, limited, billed, usd, tokens, flying)


def _counter(name: str, about: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"batchyard_simulator_{name}", about, labels=["provider", *labels])


def new_registry(providers: Iterable[Provider]) -> CollectorRegistry:
    """The series of these providers, and the process' own CPU and memory."""
    series = CollectorRegistry()
    ProcessCollector(registry=series)
    series.register(_Series(tuple(providers)))
    return series


def render(registry: CollectorRegistry) -> bytes:
    """The registry in Prometheus' text format."""
    return generate_latest(registry)
