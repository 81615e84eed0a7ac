"""What `body.model` may name: a deployment, a model that some deployment serves, or a route."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.checks import NO_CHECKS, Checks
from core.settings import RouteSettings, Settings

DEFAULT_ROUTE = "default"


@dataclass(frozen=True, slots=True)
class Target:
    """A name resolved: the route whose rules hold, and the candidates in its order."""

    route: str
    candidates: tuple[str, ...]
    choose: str
    max_output: int
    max_attempts: int
    checks: Checks = NO_CHECKS


def resolve_target(name: str, settings: Settings) -> Target | None:
    """Routes first, then deployments, then models; None for a name that is none of them.

    A deployment or a model takes the default route's rules. A model served by several
    deployments has them all as candidates, in the order of the configuration. A deployment
    stands for all of its lines.
    """
    route = settings.routes.get(name)
    if route is not None:
        return _target(name, route, _lines(route.candidates, settings))
    if name in settings.deployments:
        candidates = settings.lines(name)
    else:
        serving = (d for d, one in settings.deployments.items() if one.model == name)
        candidates = _lines(serving, settings)
    if not candidates:
        return None
    rules = settings.routes.get(DEFAULT_ROUTE) or RouteSettings(candidates=list(candidates))
    return _target(name, rules, candidates)


def _lines(deployments: Iterable[str], settings: Settings) -> tuple[str, ...]:
    return tuple(line for name in deployments for line in settings.lines(name))


def _target(name: str, rules: RouteSettings, candidates: tuple[str, ...]) -> Target:
    return Target(
        name,
        candidates,
        rules.choose,
        rules.max_output,
        rules.max_attempts,
        rules.checks.resolved(),
    )


def known_targets(settings: Settings) -> list[str]:
    """Every name that `resolve_target` accepts, for messages and completion."""
    models = {deployment.model for deployment in settings.deployments.values()}
    return sorted({*settings.routes, *settings.deployments, *models})
