"""A process' own numbers as Prometheus series, built when somebody asks.

Labels are deployments, providers, classes and steps: few, and known beforehand. Never a job, a
request, a text or a key.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from core.deployment import Deployment
from core.status import Cause
from tasks.meters import DeploymentMeters, Histogram, Meters

Labels = tuple[str, ...]

NANO = 1e9


def histogram(
    name: str,
    about: str,
    labels: Labels,
    members: Mapping[Labels, Histogram],
    scale: float = 1.0,
) -> Metric:
    """One family of histograms, by the values of their labels; values are times `scale`."""
    family = HistogramMetricFamily(name, about, labels=labels)
    for values, one in list(members.items()):
        running, buckets = 0, []
        for bound, count in zip((*one.bounds, None), list(one.counts), strict=True):
            running += count
            text = "+Inf" if bound is None else f"{bound * scale:.10g}"
            buckets.append((text, running))
        family.add_metric(values, buckets, one.sum * scale)
    return family


def counter(name: str, about: str, labels: Labels, members: Mapping[Labels, float]) -> Metric:
    """One family of counters, by the values of their labels; `_total` is added to the name."""
    family = CounterMetricFamily(name, about, labels=labels)
    for values, value in members.items():
        family.add_metric(values, value)
    return family


def gauge(name: str, about: str, labels: Labels, members: Mapping[Labels, float]) -> Metric:
    """One family of gauges, by the values of their labels."""
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, value in members.items():
        family.add_metric(values, value)
    return family


def by(members: Mapping[str, float]) -> dict[Labels, float]:
    """Values by one label."""
    return {(key,): value for key, value in list(members.items())}


class ProcessSeries(Collector):
    """The meters of this process, and what it holds at the moment (`holds`: gauges by name).
    One that makes no calls has nothing to tell of deployments."""

    def __init__(
        self,
        meters: Meters,
        deployments: Mapping[str, Deployment],
        holds: Callable[[], Mapping[str, float]],
    ) -> None:
        self._meters = meters
        self._deployments = deployments
        self._holds = holds

    @override
    def collect(self) -> Iterable[Metric]:
        yield from self._work()
        if self._meters.deployments:
            yield from self._inside()
            yield from self._calls()
            yield from self._pauses()
            yield from self._money()
            yield from self._genai()

    def _work(self) -> Iterable[Metric]:
        meters = self._meters
        yield histogram(
            "batchyard_step_seconds",
            "How long steps took (route, dispatch, finish, sweep).",
            ("step",),
            {(step,): one for step, one in list(meters.steps.items())},
        )
        yield counter(
            "batchyard_step_failures",
            "Steps that ended in an error.",
            ("step",),
            by(meters.step_failures),
        )
        yield counter(
            "batchyard_bells", "Steps that this process asked for.", ("step",), by(meters.bells)
        )
        for name, value in self._holds().items():
            yield gauge(name, HOLDS[name], (), {(): value})

    def _inside(self) -> Iterable[Metric]:
        meters = self._meters
        # From zero, as all others: a rate needs a value before the first slice has ended.
        providers = {one.provider: None for one in self._deployments.values()}
        yield histogram(
            "batchyard_slice_seconds",
            "How long tickets were worked on.",
            ("provider",),
            {(name,): meters.slices[name] for name in providers},
        )
        for name, about, one in (
            ("batchyard_claim_seconds", "Claiming chunks and reading them.", meters.claims),
            ("batchyard_window_seconds", "From an intent to its commit.", meters.windows),
            ("batchyard_commit_seconds", "Record transactions, retries included.", meters.commits),
            ("batchyard_commit_calls", "Calls recorded in one commit.", meters.commit_calls),
        ):
            yield histogram(name, about, (), {(): one})
        yield counter("batchyard_claimed_requests", "Requests claimed.", (), {(): meters.claimed})
        yield counter(
            "batchyard_commit_troubles",
            "Commits that did not go through at once: interrupted, or refused by Postgres.",
            ("kind",),
            by(meters.commit_troubles),
        )

    def _calls(self) -> Iterable[Metric]:
        calls: dict[Labels, float] = {}
        for name, one in self._each():
            calls[*name, "ok", ""] = sum(one.latency.counts)
            calls |= {(*name, *key): count for key, count in list(one.failed.items())}
            calls[*name, "late", ""] = one.late
        yield counter(
            "batchyard_attempts",
            "Calls that ended and were recorded, by outcome and class of error.",
            (*DEPLOYMENT, "status", "error_class"),
            calls,
        )
        yield self._count("batchyard_retries", "Calls that failed here and were made again "
                          "here.", lambda one: one.retries)  # fmt: skip
        yield self._count("batchyard_fallbacks", "Calls that failed here and were made again "
                          "elsewhere.",
                          lambda one: one.fallbacks)  # fmt: skip
        yield self._count("batchyard_escalations", "Answers of a cascade that were not enough: a "
                          "dearer candidate is asked.",
                          lambda one: one.escalations)  # fmt: skip

    def _pauses(self) -> Iterable[Metric]:
        meters = self._meters
        names = {name: (name, one.provider) for name, one in self._deployments.items()}
        yield gauge(
            "batchyard_calls_in_flight",
            "Calls on their way now.",
            DEPLOYMENT,
            {labels: meters.flying[name] for name, labels in names.items()},
        )
        yield counter(
            "batchyard_pauses",
            "Pauses that a deployment asked for.",
            DEPLOYMENT,
            {labels: meters.pauses[name] for name, labels in names.items()},
        )
        yield counter(
            "batchyard_closings",
            "How often this process closed a deployment, by cause.",
            (*DEPLOYMENT, "cause"),
            {
                (*labels, cause.value): meters.closings[name, cause.value]
                for name, labels in names.items()
                for cause in Cause
            },
        )
        yield counter(
            "batchyard_pause_seconds",
            "Seconds that deployments asked to be left alone for; pauses may overlap.",
            DEPLOYMENT,
            {labels: meters.pause_seconds.get(name, 0.0) for name, labels in names.items()},
        )

    def _money(self) -> Iterable[Metric]:
        cost: dict[Labels, float] = {}
        tokens: dict[Labels, float] = {}
        for name, one in self._each():
            cost[*name, "usage"] = one.cost / NANO
            cost[*name, "bound"] = one.cost_bound / NANO
            tokens[*name, "input"] = one.input_tokens.sum
            tokens[*name, "cached"] = one.cached_tokens
            tokens[*name, "output"] = one.output_tokens.sum
            tokens[*name, "reasoning"] = one.reasoning_tokens
        yield counter(
            "batchyard_cost_usd",
            "Dollars booked: by the usage that was reported, or at the bound where nobody knows.",
            (*DEPLOYMENT, "basis"),
            cost,
        )
        yield counter(
            "batchyard_tokens",
            "Tokens reported. Input holds the cached ones, output the reasoning ones.",
            (*DEPLOYMENT, "kind"),
            tokens,
        )
        yield self._count("batchyard_unpriced_calls", "Calls whose price nobody knows.",
                          lambda one: one.unpriced)  # fmt: skip
        yield self._count("batchyard_calls_above_bound", "Calls whose provider reported more than "
                          "was reserved for them.", lambda one: one.above_bound)  # fmt: skip
        yield self._count("batchyard_unbooked_usd", "Dollars reported beyond what was reserved, "
                          "and not booked.", lambda one: one.unbooked / NANO)  # fmt: skip
        yield self._count("batchyard_zero_cost_calls", "Answers that cost nothing.",
                          lambda one: one.zero_cost)  # fmt: skip

    def _genai(self) -> Iterable[Metric]:
        latency: dict[Labels, Histogram] = {}
        tokens: dict[Labels, Histogram] = {}
        for (name, provider), one in self._each():
            known = self._deployments.get(name)
            labels = (OPERATION, provider, known.model if known else "", name)
            latency[*labels, ""] = one.latency
            latency |= {(*labels, leaf): h for leaf, h in list(one.failed_latency.items())}
            tokens[*labels, "input"] = one.input_tokens
            tokens[*labels, "output"] = one.output_tokens
        yield histogram(
            "gen_ai_client_operation_duration_seconds",
            "How long calls took.",
            (*GENAI, "error_type"),
            latency,
            scale=0.001,
        )
        yield histogram(
            "gen_ai_client_token_usage",
            "Tokens of a call.",
            (*GENAI, "gen_ai_token_type"),
            tokens,
        )

    def _count(self, name: str, about: str, read: Callable[[DeploymentMeters], float]) -> Metric:
        return counter(name, about, DEPLOYMENT, {key: read(one) for key, one in self._each()})

    def _each(self) -> list[tuple[tuple[str, str], DeploymentMeters]]:
        known = list(self._meters.deployments.items())
        return [((name, self._provider(name)), one) for name, one in known]

    def _provider(self, deployment: str) -> str:
        known = self._deployments.get(deployment)
        return known.provider if known else ""


DEPLOYMENT = ("deployment", "provider")
# The one operation there is so far, in the conventions' words.
OPERATION = "chat"
GENAI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "deployment")
HOLDS = {
    "batchyard_lanes": "Tickets that this process works on.",
    "batchyard_held_chunks": "Chunks under this process' lease.",
    "batchyard_writer_queue": "Calls that wait for the next commit.",
}
