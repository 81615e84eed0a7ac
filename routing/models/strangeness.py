"""How little a prompt is like anything that a model of intents was trained on."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from routing.models.state import Array, Floats, State

PULL: Final = 3.0
"""What a distance weighs beside log odds."""
LEANING: Final = 0.5
"""What the margin of strangers weighs: others may be unlike those that were learned from."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the vectors of each intent's examples lie.

    `means` float32[m, d]; `usual` is the mean squared distance of an example from its intent's.
    """

    means: Floats
    usual: float

    @classmethod
    def of(cls, vectors: Floats, places: Array) -> "Surroundings":
        """Of vectors float32[n, d]; `places` int[n] are their intents, 0 to m - 1."""
        intents = int(places.max()) + 1
        means = np.zeros((intents, vectors.shape[1]), np.float32)
        np.add.at(means, places, vectors)
        means /= np.bincount(places, minlength=intents)[:, None]
        # Examples are nearer to a mean that they are a part of than others will be.
        free = max(len(vectors) - intents, 1)
        usual = float(np.square(vectors - means[places]).sum(dtype=float)) / free
        return cls(means, max(usual, 1e-9))

    def distances(self, vectors: Floats) -> Floats:
        """float32[n, m]: squared, from each intent, in terms of the usual one."""
        own = np.square(vectors).sum(axis=1, keepdims=True)
        away = own - 2 * vectors @ self.means.T + np.square(self.means).sum(axis=1)
        return np.asarray(away / self.usual, np.float32)

    def distance(self, vectors: Floats, places: Array) -> Floats:
        """float32[n]: squared, each from the intent named, in terms of the usual one."""
        away = vectors - self.means[places]
        return np.asarray(np.einsum("nd,nd->n", away, away) / self.usual, np.float32)

    def state(self) -> State:
        """For the model file."""
        return State({"usual": self.usual}, {"means": self.means})

    @classmethod
    def from_state(cls, state: State) -> "Surroundings":
        """Those that gave this state."""
        return cls(state.arrays["means"], state.fields["usual"])


def strangeness(
    margins: Floats, distance: Floats | None = None, stranger: Floats | None = None
) -> Floats:
    """float32[n] of margins [n, m], of squared distances [n] from the likeliest intents, and of the
    margins [n] of what is out of scope, where that was learned.

    Either no intent is likely (the free energy of Liu et al. 2020), or one is that no example like
    the prompt had: what lies beyond all examples has high odds for some intent. Without vectors,
    and in models of before there were distances, it is by the highest margin.
    """
    found = -margins.max(axis=1, initial=-np.inf)
    if distance is not None:
        found -= np.log(np.exp(margins + found[:, None]).sum(axis=1))
        found += np.float32(PULL) * distance
    if stranger is not None:
        found += np.float32(LEANING) * stranger
    return np.asarray(found, np.float32)
