"""What scores add up to: a mean, and how far it can be trusted."""

import math
from dataclasses import dataclass

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of `count` scores between 0 and 1, with its interval of 95 %."""

    count: int
    mean: float
    low: float
    high: float

    @property
    def told(self) -> str:
        """`0.843 (0.812 to 0.869)`."""
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean_of(count: int, total: float, squares: float) -> Mean:
    """From how many scores there are, their sum, and the sum of their squares.

    Wilson's interval (Wilson 1927), with the effective number of right-or-wrong answers that
    has the same variance: so it holds for scores of 0 and 1, stays within 0 and 1, and is
    narrower where scores are fractions. Raises ValueError for no scores.
    """
    if count <= 0:
        raise ValueError("there is no score")
    mean = total / count
    spread, bernoulli = max(squares / count - mean * mean, 0.0), mean * (1 - mean)
    # Scores of 0 and 1 have the variance of a coin; fractions vary less, and count for more.
    worth = count * bernoulli / spread if spread > 1e-12 and bernoulli > 0 else count
    z2 = Z95 * Z95 / worth
    middle = (mean + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(bernoulli / worth + z2 / (4 * worth))
    return Mean(count, mean, max(0.0, middle - half), min(1.0, middle + half))
