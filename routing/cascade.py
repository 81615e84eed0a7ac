"""Whether the answers of a cascade's steps are enough, and who is asked next. Pure.

An escalation only goes up: to the route's own candidates behind the one that has answered, and
never to another key of the same deployment.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.cascade import Cascade, Compare
from core.plan import Plan
from core.ports import Scored
from core.settings import configured_name


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the answers are enough; `best` is the index of the one that counts, now or where
    nobody else can be asked. `why` tells it in words."""

    accepted: bool
    best: int
    why: str


def above(plan: Plan, candidate: int) -> int:
    """The candidates (bits) that an answer of this one may be escalated to."""
    name = configured_name(plan.candidates[candidate])
    return sum(
        1 << index
        for index in range(candidate + 1, plan.own)
        if configured_name(plan.candidates[index]) != name
    )


def agreed(cascade: Cascade, answers: Sequence[str]) -> Verdict:
    """Whether as many of the answers say the same as the last one as the cascade asks for. An
    answer of no text agrees with none. The last one counts."""
    read = READERS[cascade.compare]
    mine = read(answers[-1])
    same = 0 if mine is None else sum(read(other) == mine for other in answers)
    last = len(answers) - 1
    if same >= cascade.ask:
        return Verdict(True, last, f"{same} of {len(answers)} say the same")
    if len(answers) < cascade.ask:
        return Verdict(False, last, f"{len(answers)} of {cascade.ask} asked")
    return Verdict(False, last, f"{max(same, 1)} of {len(answers)} say so, {cascade.ask} have to")


def weighed(cascade: Cascade, scores: Sequence[float | None], told: Scored) -> Verdict:
    """Whether the likeliest answer is enough: by its probability to be right, where there is a
    threshold; otherwise by what the strong candidate would gain. `scores` are probabilities, None
    for an answer that was not judged."""
    likely = [-1.0 if one is None else one for one in scores]
    best = max(range(len(likely)), key=lambda index: (likely[index], index))
    if cascade.threshold is not None:
        enough = likely[best] >= cascade.threshold
        sign = ">=" if enough else "<"
        return Verdict(
            enough, best, f"acceptance {likely[best]:.3f} {sign} {cascade.threshold:.3f}"
        )
    least = told.least if cascade.least is None else cascade.least
    enough = told.gain <= least
    sign = "<=" if enough else ">"
    why = f"acceptance {likely[best]:.3f}, asking on gains {told.gain:.3f} {sign} {least:.3f}"
    return Verdict(enough, best, why)


def _text(answer: str) -> str | None:
    """Case, space and the punctuation around it do not count."""
    return " ".join(answer.casefold().split()).strip(" .,:;!?*\"'`()[]") or None


def _option(answer: str) -> str | None:
    """The option that an answer names: what stands in its \\boxed{}, behind its last `answer is`
    or `answer:`, or else its only letter A to J that stands alone; without any, its text."""
    named = _NAMED.findall(answer)
    if named:
        return _text(named[-1])
    letters = {one.upper() for one in _ALONE.findall(answer)}
    return letters.pop().casefold() if len(letters) == 1 else _text(answer)


def _value(answer: str) -> str | None:
    """The JSON value of an answer, whatever the order of its keys; its fence does not count."""
    fenced = _FENCE.fullmatch(answer.strip())
    try:
        return json.dumps(json.loads(fenced[1] if fenced else answer), sort_keys=True)
    except ValueError:
        return None


_NAMED: Final = re.compile(
    r"(?:\\boxed\{|\banswer(?:\s+is)?\s*:?\s*[\"'(\[*]*)([A-Za-z0-9.+-]+)", re.IGNORECASE
)
_ALONE: Final = re.compile(r"(?<![A-Za-z'])([A-J])(?![A-Za-z'])")
_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)

READERS: Final[dict[Compare, Callable[[str], Any]]] = {
    "exact": _text,
    "choice": _option,
    "json": _value,
}
"""What of an answer is compared; None agrees with nothing."""
