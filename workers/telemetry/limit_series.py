"""Limits as one process knows them, as Prometheus series.

A scope is whatever has limits: a deployment's line, a provider's key (`key:openai#1`), a project
(`project:search`).
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from core.deployment import Deployment
from tasks.yard import Yard
from workers.limiter.books import Book
from workers.limiter.redis_limiter import RedisLimiter
from workers.telemetry.series import DEPLOYMENT, Labels, gauge

RATES = ("rpm", "tpm", "input_tpm", "output_tpm")


class LimitSeries(Collector):
    """`yard` gives the open yard; before it is open there is nothing to tell."""

    def __init__(
        self, yard: Callable[[], Yard | None], deployments: Mapping[str, Deployment]
    ) -> None:
        self._yard = yard
        self._deployments = deployments

    @override
    def collect(self) -> Iterable[Metric]:
        yard = self._yard()
        if yard is None:
            return
        limiter = yard.caller.limiter
        if isinstance(limiter, RedisLimiter):
            yield from _limits(limiter)
        names = {name: (name, one.provider) for name, one in self._deployments.items()}
        if isinstance(limiter, RedisLimiter):
            yield gauge(
                "batchyard_limit_factor",
                "What 429s and headers have left of the declared rates: the smallest of a "
                "deployment's rates in force by the declared one; 1 where none is cut.",
                DEPLOYMENT,
                {
                    labels: _factor(limiter.books.get(self._deployments[name].buckets.key))
                    for name, labels in names.items()
                },
            )
            yield gauge(
                "batchyard_pause_left_seconds",
                "Seconds left of the pause that this process knows of.",
                DEPLOYMENT,
                {
                    labels: limiter.paused(self._deployments[name].buckets.key)
                    for name, labels in names.items()
                },
            )


def _limits(limiter: RedisLimiter) -> Iterable[Metric]:
    books = list(limiter.books.items())
    yield gauge(
        "batchyard_limiter_alone",
        "1 while the limiter's server is away and this process goes on with its share.",
        (),
        {(): float(limiter.alone)},
    )
    yield gauge(
        "batchyard_scope_in_flight",
        "Calls that this process holds permits for, by scope.",
        ("scope",),
        {(key,): book.flying for key, book in books},
    )
    in_force: dict[Labels, float] = {}
    for key, book in books:
        in_force |= {(key, kind): value for kind, value in _in_force(book).items()}
    yield gauge(
        "batchyard_limit_in_force",
        "Limits that hold now for all processes together: as declared, told or learnt. The rates "
        "are a minute's.",
        ("scope", "kind"),
        in_force,
    )


def _factor(book: Book | None) -> float:
    """At most 1."""
    if book is None or book.word is None:
        return 1.0
    cuts: list[float] = [
        rate / declared
        for kind, rate in zip(RATES, book.word.rates, strict=True)
        if rate and (declared := getattr(book.buckets, kind))
    ]
    return min([1.0, *cuts])


def _in_force(book: Book) -> dict[str, float]:
    word = book.word
    if word is None:
        return {}
    known = {**dict(zip(RATES, word.rates, strict=True)), "in_flight": word.in_flight}
    return {kind: most for kind, most in known.items() if most}
