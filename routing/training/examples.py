"""What a model of intents is learned from: texts and what they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.intents import IntentFile


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts with their intents, and texts that are none of them."""

    texts: Sequence[str]
    labels: Sequence[str]
    outside: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class IntentData:
    """`train` is learned from; `calibration` is held back for saying how sure a model is, and
    may be missing. `file` is what operators have said of the intents."""

    train: Examples
    calibration: Examples | None = None
    file: IntentFile | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
