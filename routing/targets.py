"""What `body.model` may name: a deployment, a model that some deployment serves, or a route."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.cascade import Cascade, CascadeSettings
from core.checks import NO_CHECKS, Checks
from core.intents import IntentsSettings
from core.plan import MOST_CANDIDATES
from core.route import RouteSettings
from core.router import ROUTED, RouterSettings
from core.settings import Settings

DEFAULT_ROUTE = "default"


@dataclass(frozen=True, slots=True)
class Target:
    """A name resolved: the route whose rules hold, the candidates in its order, and those for
    requests that are too long or refused. `weights` are by candidate; `router` is there where
    predictions are to order the candidates, `intents` where its requests are to be understood
    first, `cascade` where answers decide who is asked next;
    `fallbacks` and `timeout` (seconds) are a request's
    own wishes."""

    route: str
    candidates: tuple[str, ...]
    choose: str
    max_output: int
    max_attempts: int
    checks: Checks = NO_CHECKS
    weights: Mapping[str, float] = field(default_factory=dict)
    router: RouterSettings | None = None
    intents: IntentsSettings | None = None
    cascade: Cascade | None = None
    too_long: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    timeout: float | None = None


def resolve_target(name: str, settings: Settings) -> Target | None:
    """Routes first, then deployments, then models; None for a name that is none of them.

    A deployment or a model takes the default route's rules, but is not chosen by a router: it
    was named. A model served by several
    deployments has them all as candidates, in the order of the configuration. A deployment
    stands for all of its lines, which share its weight.
    """
    route = settings.routes.get(name)
    if route is not None:
        return _target(name, route, _lines(route.candidates, settings), settings)
    if name in settings.deployments:
        candidates = settings.lines(name)
    else:
        serving = (d for d, one in settings.deployments.items() if one.model == name)
        candidates = _lines(serving, settings)[:MOST_CANDIDATES]
    if not candidates:
        return None
    rules = settings.routes.get(DEFAULT_ROUTE) or RouteSettings(candidates=list(candidates))
    return _target(name, rules, candidates, settings)


def _lines(deployments: Iterable[str], settings: Settings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for name in deployments for line in settings.lines(name)))


def _target(
    name: str, rules: RouteSettings, candidates: tuple[str, ...], settings: Settings
) -> Target:
    shares = {
        line: weight / len(settings.lines(deployment))
        for deployment, weight in rules.weights.items()
        for line in settings.lines(deployment)
    }
    own = {line: shares.get(line, 1.0) for line in candidates}
    named = rules.choose in ROUTED and name not in settings.routes
    return Target(
        route=name,
        candidates=candidates,
        choose="ordered" if named else rules.choose,
        max_output=rules.max_output,
        max_attempts=rules.max_attempts,
        checks=rules.checks.resolved(),
        weights=own if rules.choose == "weighted" else {},
        router=None if named else rules.router,
        intents=rules.intents if name in settings.routes else None,
        cascade=None if named else _cascade(rules),
        too_long=_lines(rules.too_long, settings),
        refused=_lines(rules.refused, settings),
    )


def _cascade(rules: RouteSettings) -> Cascade | None:
    if rules.choose != "cascade":
        return None
    return (rules.cascade or CascadeSettings()).resolved()


def known_targets(settings: Settings) -> list[str]:
    """Every name that `resolve_target` accepts, for messages and completion."""
    models = {deployment.model for deployment in settings.deployments.values()}
    return sorted({*settings.routes, *settings.deployments, *models})
