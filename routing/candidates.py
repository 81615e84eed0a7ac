"""The ordered candidates of one request: the context mask, then the route's choice."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.deployment import Deployment
from routing.targets import Target


@dataclass(frozen=True, slots=True)
class Request:
    """What routing looks at: tokens that go in and that may come out."""

    tokens: int
    output_limit: int


def fits(request: Request, deployment: Deployment) -> bool:
    """Whether prompt and answer fit the window; an unknown window is taken to be enough."""
    needed = request.tokens + request.output_limit
    return deployment.context is None or needed <= deployment.context


def order(
    request: Request, target: Target, deployments: Mapping[str, Deployment]
) -> tuple[str, ...]:
    """The candidates in the order in which they are tried.

    Those whose window is too small are left out; when all are, the whole list stays, so
    that the request fails with the provider's own word and not in silence. `cheapest` sorts
    by the price of this request; unknown prices come last.
    """
    names = [n for n in target.candidates if fits(request, deployments[n])]
    names = names or list(target.candidates)
    if target.choose == "cheapest":
        names.sort(key=lambda name: _price(request, deployments[name]))
    return tuple(names)


def _price(request: Request, deployment: Deployment) -> tuple[bool, int]:
    if deployment.price is None:
        return (True, 0)
    return (False, deployment.price.cost(request.tokens, request.output_limit))
