"""Predictions as they are kept with a job: 16 bits a number, 2,000 requests a row."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

USD_UNIT: Final = 1000
"""Costs are kept in dollars for so many calls: a call's own would be below the least number."""

_HALF: Final = np.dtype("<f2")
_MOST: Final = float(np.finfo(_HALF).max)


def pack(values: NDArray[np.floating]) -> bytes:
    """Little-endian float16, row by row; NaN is what is not known."""
    body: bytes = np.clip(values, -_MOST, _MOST).astype(_HALF).tobytes()
    return body


def unpack(body: bytes, columns: int) -> NDArray[np.float32]:
    """float32[n, columns]: what `pack` was given, to three digits."""
    return np.frombuffer(body, _HALF).reshape(-1, columns).astype(np.float32)


def pack_usd(costs: NDArray[np.floating]) -> bytes:
    """Costs of a call in dollars."""
    return pack(costs * USD_UNIT)


def unpack_usd(body: bytes, columns: int) -> NDArray[np.float32]:
    """float32[n, columns], dollars a call."""
    return unpack(body, columns) / np.float32(USD_UNIT)


def spread(
    values: NDArray[np.floating], names: Sequence[str], all_names: Sequence[str]
) -> NDArray[np.float32]:
    """The columns `names` at their places among `all_names`, NaN in the others."""
    wide = np.full((len(values), len(all_names)), np.nan, np.float32)
    wide[:, [all_names.index(name) for name in names]] = values
    return wide
