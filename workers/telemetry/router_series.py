"""What a process' route and score steps found, as Prometheus series."""

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from core.deployment import Deployment
from core.settings import Settings
from tasks.meters import UNCALLED, RouterMeters
from workers.telemetry.series import DEPLOYMENT, Labels, counter


class RouterSeries(Collector):
    """Requests that ended without a call, by the route that they came to, and scores by
    deployment. A mean score is points by answers."""

    def __init__(
        self, meters: RouterMeters, settings: Settings, deployments: Mapping[str, Deployment]
    ) -> None:
        self._meters = meters
        self._settings = settings
        self._deployments = deployments

    @override
    def collect(self) -> Iterable[Metric]:
        meters = self._meters
        # From zero, so that a first one is seen as an increase.
        uncalled: dict[Labels, float] = {
            (route, status): 0 for route in self._settings.routes for status in UNCALLED
        }
        yield counter(
            "batchyard_uncalled_requests",
            "Requests that ended without a call, by the route that they came to.",
            ("route", "status"),
            uncalled | dict(meters.uncalled),
        )
        for name, about, found in (
            ("batchyard_scored_answers", "Answers that were scored.", meters.scored),
            (
                "batchyard_score_points",
                "The sum of their scores, each from 0 to 1.",
                meters.points,
            ),
        ):
            yield counter(name, about, ("scorer", *DEPLOYMENT), self._by_deployment(found))

    def _by_deployment(self, found: Mapping[tuple[str, str], float]) -> dict[Labels, float]:
        members: dict[Labels, float] = {
            (scorer, name, one.provider): 0
            for scorer in self._meters.scorers
            for name, one in self._deployments.items()
        }
        for (scorer, name), value in list(found.items()):
            known = self._deployments.get(name)
            members[scorer, name, known.provider if known else ""] = value
        return members
