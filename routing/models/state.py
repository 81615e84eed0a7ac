"""What a router model consists of once it is trained: plain values, and arrays of numbers.

A model turns itself into a `State` and back; `routing/models/file.py` turns a state into bytes
and back. Nothing in a state can run code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class State:
    """`fields` is what JSON can say; `arrays` are numbers or fixed-width text, no objects."""

    fields: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def part(self, name: str) -> "State":
        """What `with_part` put in under this name."""
        start = f"{name}/"
        mine = {key.removeprefix(start): value for key, value in self.arrays.items()
                if key.startswith(start)}  # fmt: skip
        return State(self.fields[name], mine)

    def with_part(self, name: str, part: "State") -> "State":
        """This state with another one inside it, under a name of its own."""
        theirs = {f"{name}/{key}": value for key, value in part.arrays.items()}
        return State({**self.fields, name: part.fields}, {**self.arrays, **theirs})


class Model(Protocol):
    """What can be kept in a model file."""

    @property
    def kind(self) -> str:
        """The task it was trained for: `choice`, `intent`."""
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """What a person may want to know of it: data, figures, versions; JSON can say it."""
        ...

    def state(self) -> State:
        """All that is needed to build it again."""
        ...
