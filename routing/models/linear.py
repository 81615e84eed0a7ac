"""A linear map of rows of features to several numbers a row."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from routing.models.state import Array, Floats, State


@dataclass(frozen=True, slots=True)
class Linear:
    """`slopes` float32[width, k], `level` float32[k]."""

    slopes: Floats
    level: Floats

    def apply(self, rows: sparse.csr_matrix | Array) -> Floats:
        """float32[n, k] of rows [n, width]."""
        return np.asarray(rows @ self.slopes + self.level, np.float32)

    def column(self, place: int, rows: sparse.csr_matrix) -> Floats:
        """float32[n]: one of the numbers alone."""
        return np.asarray(rows @ self.slopes[:, place] + self.level[place], np.float32)

    def state(self) -> State:
        """For the model file."""
        return State({}, {"slopes": self.slopes, "level": self.level})

    @classmethod
    def from_state(cls, state: State) -> "Linear":
        """The map that gave this state."""
        return cls(state.arrays["slopes"], state.arrays["level"])


def sigmoid(raw: Array) -> Floats:
    """1 / (1 + e^-raw)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(raw, -30, 30))), np.float32)


def logit(share: Array) -> Floats:
    """ln(p / (1 - p)); shares beyond 0.02 and 0.98 count as those."""
    held = np.clip(share, 0.02, 0.98)
    return np.asarray(np.log(held / (1 - held)), np.float32)
