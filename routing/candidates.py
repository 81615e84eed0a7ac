"""The plan of one request: the context mask over its target's lists."""

from collections.abc import Mapping

from core.deployment import Deployment
from core.plan import MOST_CANDIDATES, TOO_LONG, USUAL, Plan
from core.size import Size
from routing.targets import Target


def fits(size: Size, deployment: Deployment) -> bool:
    """Whether prompt and answer fit the window; an unknown window is taken to be enough."""
    return deployment.context is None or size.tokens + size.output <= deployment.context


def windows(target: Target, deployments: Mapping[str, Deployment]) -> list[int]:
    """The windows of a target's deployments, in order: requests that as many of them are too
    small for have the same plan."""
    names = (*target.candidates, *target.fallbacks, *target.too_long, *target.refused)
    known = {deployments[name].context for name in names}
    return sorted(context for context in known if context is not None)


def plan_for(size: Size, target: Target, deployments: Mapping[str, Deployment]) -> tuple[Plan, str]:
    """The request's plan, and the list of it that the first candidate is chosen from.

    Deployments whose window is too small are left out of every list. Where none of the route's
    own is large enough, the list for requests that are too long comes first; where nothing is,
    all of its own stay, so that the request fails with the provider's own word and not in
    silence.
    """
    own, wished, longer, refused = (
        tuple(name for name in names if fits(size, deployments[name]))
        for names in (target.candidates, target.fallbacks, target.too_long, target.refused)
    )
    among = TOO_LONG if longer and not own else USUAL
    if not (own or wished or longer):
        own = target.candidates
    wished = wished[: MOST_CANDIDATES - len({*own, *longer, *refused})]
    plan = Plan(
        route=target.route,
        candidates=tuple(dict.fromkeys((*own, *wished, *longer, *refused))),
        max_output=target.max_output,
        max_attempts=target.max_attempts,
        checks=target.checks,
        fallbacks=len(wished),
        timeout=target.timeout,
        choose=target.choose,
        weights=tuple(target.weights[name] for name in own) if target.weights else (),
        usual=len(own) + len(wished),
        too_long=longer,
        refused=refused,
        cascade=target.cascade if len(own) > 1 else None,
    )
    return plan, among
