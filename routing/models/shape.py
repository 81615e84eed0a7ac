"""A prompt's length and make-up as a few numbers."""

import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from routing.models.state import Floats

_SHAPES: Final = (
    re.compile(r"\d+(?:[.,]\d+)*"),
    re.compile(r"[.!?](?:\s|$)"),
    re.compile(r"[%$€£]"),
    re.compile(r"[=+*/^<>\\]"),
    re.compile(r"[A-Z]"),
    re.compile(r"[(){}\[\];]"),
    re.compile(r"[^\x00-\x7f]"),
)
_TELLING: Final = (
    ("not", "never", "except", "least", "most", "best", "how many", "why"),
    ("each", "every", "per", "half", "twice", "times", "more", "less", "total", "than"),
)
# What begins with the word itself is looked for four times as fast.
_WHOLE: Final = {
    word: re.compile(rf"{word}\b(?<!\w{word})") for words in _TELLING for word in words
}
_LOOKED_AT: Final = 4_000  # characters of a prompt whose shape is counted


def shapes(prompts: Sequence[str]) -> Floats:
    """float32[n, s]: the length, and ln(1 + how often) of what tells kinds of prompts apart."""
    rows = [list(map(math.log1p, _counts(prompt))) for prompt in prompts]
    return np.array(rows, np.float32).reshape(len(rows), 3 + len(_SHAPES) + len(_TELLING))


def _counts(prompt: str) -> list[int]:
    begin = prompt[:_LOOKED_AT]
    lowered = begin.lower()
    return [
        len(prompt),
        prompt.count(" "),
        begin.count("\n"),
        *(len(kind.findall(begin)) for kind in _SHAPES),
        *(
            sum(len(_WHOLE[word].findall(lowered)) for word in words if word in lowered)
            for words in _TELLING
        ),
    ]
