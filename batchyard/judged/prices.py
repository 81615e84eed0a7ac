"""What a call of a candidate costs where the data do not say: prices given, or assumed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from core.errors import InputError
from providers.yaml_text import load_yaml
from routing.models.state import Array

ANSWER_TOKENS: Final = 200  # of an answer that is not there to be counted
CHARACTERS_A_TOKEN: Final = 4.0

# US dollars per million tokens of hosted open models, by billions of parameters: what
# several hosts ask, to the nearest tenth. Used only where nothing else is known, and said.
_BY_SIZE: Final = ((4, 0.1), (10, 0.2), (21, 0.3), (41, 0.6), (80, 0.9), (200, 1.2))
_BEYOND: Final = 3.0
_SIZE: Final = re.compile(r"(?i)(?<![\d.a-z])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])")


@dataclass(frozen=True, slots=True)
class CallPrice:
    """US dollars per million tokens in and out, and per call."""

    input: float = 0.0
    output: float = 0.0
    call: float = 0.0


def read_prices(path: Path) -> dict[str, CallPrice]:
    """Prices from YAML or JSON: `candidate: {input: 0.2, output: 0.6}` in US dollars per
    million tokens, `{call: 0.001}` per call. Raises InputError."""
    try:
        told = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(told, dict) or not told:
        raise InputError(f"{path}: must be a mapping from candidates to prices.")
    return {str(name): _price(path, name, value) for name, value in told.items()}


def _price(path: Path, name: object, value: Any) -> CallPrice:
    known = {"input", "output", "call"}
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"input": value, "output": value}
    if not isinstance(value, dict) or not value or not set(value) <= known:
        raise InputError(
            f"{path}: the price of {name} must be {{input: …, output: …}} in US dollars per "
            "million tokens, or {call: …} per call."
        )
    if not all(isinstance(one, int | float) and one >= 0 for one in value.values()):
        raise InputError(f"{path}: a price of {name} is no number of at least 0.")
    return CallPrice(**{key: float(one) for key, one in value.items()})


def assumed_prices(names: Sequence[str]) -> dict[str, CallPrice]:
    """Prices by the number of parameters in each name. Raises InputError for names without."""
    found = {name: _size(name) for name in names}
    unknown = [name for name, size in found.items() if size is None]
    if unknown:
        raise InputError(
            f"What does a call of {', '.join(unknown)} cost? Give --prices FILE (candidate: "
            "{input: 0.2, output: 0.6}, US dollars per million tokens), or a column "
            "`<candidate>|total_cost` for each candidate."
        )
    return {name: CallPrice(rate, rate) for name, size in found.items() for rate in [_rate(size)]}


def _size(name: str) -> float | None:
    found = _SIZE.search(name)
    if found is None:
        return None
    return int(found.group(1) or 1) * float(found.group(2))


def _rate(size: float | None) -> float:
    return next((rate for most, rate in _BY_SIZE if (size or 0) <= most), _BEYOND)


def call_costs(
    names: Sequence[str],
    prices: Mapping[str, CallPrice],
    prompts: Sequence[str],
    answers: Mapping[str, Sequence[str]],
) -> Array:
    """float64[n, m], US dollars: tokens estimated from characters, of an answer that is not
    there `ANSWER_TOKENS`. Raises InputError for a candidate without a price."""
    missing = [name for name in names if name not in prices]
    if missing:
        raise InputError(f"No price for {', '.join(missing)}; there are: {', '.join(prices)}.")
    reads = np.array([len(prompt) for prompt in prompts]) / CHARACTERS_A_TOKEN
    columns = []
    for name in names:
        texts = answers.get(name)
        writes = (
            np.full(len(prompts), float(ANSWER_TOKENS))
            if texts is None
            else np.array([len(text) for text in texts]) / CHARACTERS_A_TOKEN
        )
        price = prices[name]
        columns.append((reads * price.input + writes * price.output) / 1e6 + price.call)
    return np.column_stack(columns)
