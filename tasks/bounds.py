"""What a request may cost at most on a deployment.

    bound = price(input upper bound, output limit that is actually sent × n)

The input bound is counted text plus overhead per message and tool where the model's
tokeniser is known, UTF-8 bytes where it is not (`providers/tokens.py`).
"""

from dataclasses import dataclass

from core.deployment import Deployment
from core.plan import Plan
from providers.tokens import Counted, has_exact_tokens


@dataclass(frozen=True, slots=True)
class Size:
    """A request in tokens: what it probably sends, what it may send and may bring back."""

    tokens: int
    input_bound: int | None
    output_limit: int


def size_of(counted: Counted, deployment: Deployment, plan: Plan) -> Size:
    """The request's size on this deployment."""
    bound = counted.input_bound(has_exact_tokens(deployment))
    return Size(counted.tokens, bound, counted.output_limit(plan.max_output))


def bound_nusd(size: Size, deployment: Deployment) -> int | None:
    """The upper bound in nano-dollars: 0 where the price is unknown, None where the request
    refers to what nobody can count beforehand (remote files, server tools)."""
    if deployment.price is None:
        return 0
    if size.input_bound is None:
        return None
    return deployment.price.cost(size.input_bound, size.output_limit)


def guess_nusd(size: Size, deployment: Deployment) -> int:
    """What stands in for the bound of an unbounded request in a job without a budget."""
    return 0 if deployment.price is None else deployment.price.cost(size.tokens, size.output_limit)
