"""What a request may cost at most on a deployment: arithmetic on what was counted once.

    bound = price(input upper bound, output limit that is actually sent x n)

The input bound is counted text plus overhead per message and tool where the model's
tokeniser is known, UTF-8 bytes where it is not (`providers/tokens.py`).
"""

from collections.abc import Iterable

from core.deployment import Deployment
from core.size import Size
from providers.tokens import has_exact_tokens


def bound_nusd(size: Size, deployment: Deployment, *, limited: bool) -> int | None:
    """The upper bound in nano-dollars.

    0 where the price is unknown; what it probably costs where the request refers to what
    nobody can count beforehand (remote files, server tools). Under a budget (`limited`) both
    are None: it must not go there.
    """
    if deployment.price is None:
        return None if limited else 0
    bound = size.input_bound(has_exact_tokens(deployment))
    if bound is None:
        return None if limited else deployment.price.cost(size.tokens, size.output)
    return deployment.price.cost(bound, size.output)


def bounds_of(sizes: Iterable[Size], deployment: Deployment, *, limited: bool) -> list[int] | None:
    """What each of several requests costs there at most; None where one must not go there."""
    bounds = []
    for size in sizes:
        bound = bound_nusd(size, deployment, limited=limited)
        if bound is None:
            return None
        bounds.append(bound)
    return bounds


def same_bounds(one: Deployment, other: Deployment) -> bool:
    """Whether a request has the same bound on both, as on two keys of one provider."""
    return one.price == other.price and has_exact_tokens(one) == has_exact_tokens(other)
