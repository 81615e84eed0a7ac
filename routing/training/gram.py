"""How alike texts are: the products of their rows of features, all pairs at once.

Training tries many penalties and weights on the same few thousand rows. With these products
each try costs the square of the rows, however many features there are.
"""

from typing import Final

import numpy as np
from scipy import sparse

from routing.models.state import Floats

_OFTEN: Final = 1 / 20  # of the rows have it: from there on a dense product is quicker
_AT_ONCE: Final = 512


def gram(rows: sparse.csr_matrix) -> Floats:
    """float32[n, n]: rows @ rows.T."""
    many = rows.shape[0]
    often = np.bincount(rows.indices, minlength=rows.shape[1]) > many * _OFTEN
    dense = rows[:, often].toarray()
    alike = dense @ dense.T
    rare = rows[:, ~often]
    across = rare.T.tocsr()
    for start in range(0, many, _AT_ONCE):
        alike[start : start + _AT_ONCE] += (rare[start : start + _AT_ONCE] @ across).toarray()
    return np.asarray(alike, np.float32)
