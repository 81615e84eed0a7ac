"""What a call is booked at, and whether its provider's counts are believed.

    reported usage                     without a limit    under a budget    for limits, statistics
    within the call's bound            as reported        as reported       as reported
    above it, but possible             as reported        the bound         as reported
    more than a call can have used     the bound          the bound         unknown

A provider may truly bill more than a bound: hidden reasoning beyond the output limit, a system
prompt that a gateway adds. Without a budget the truth is worth more than a bound; under one no
provider, however wrong, may pass what was reserved. What was reported and not booked is kept.
"""

from dataclasses import dataclass
from typing import Final

from core.deployment import Deployment, Usage
from core.size import Size
from core.work import Entry
from providers.prices import cost_nusd
from providers.tokens import has_exact_tokens

TIMES: Final = 4
"""How many times its bound a count may be; small ones have the room below besides."""
ROOM_IN: Final = 16_384
"""A system prompt and tools that a gateway adds."""
ROOM_OUT: Final = 131_072
"""What models think beyond an output limit at most."""
WIDEST: Final = 10_000_000
"""Tokens of the largest window that anybody offers."""

MOST_TOLD: Final = 1_000_000_000_000
"""Nano-dollars of one call that are told as not booked: sums of them must fit their column."""


@dataclass(frozen=True, slots=True)
class Charge:
    """`cost_nusd` is what is booked, None where nobody knows a price, `usage` what is believed.
    `unbooked_nusd` is what was reported beyond the cost: None where that is within the bound, 0
    where it is above it and booked in full. `note` says to people why less was booked."""

    cost_nusd: int | None
    usage: Usage | None = None
    unbooked_nusd: int | None = None
    note: str | None = None


def charge(entry: Entry, deployment: Deployment, usage: Usage | None, *, billed: bool) -> Charge:
    """What a call that has ended is booked at. `billed` says that money may have been spent,
    although no usage was reported: then it is the bound, and so it is where the price was lost
    since it was planned."""
    price, bound = deployment.price, entry.bound
    unknown = bound or None if price is None else bound
    if usage is None:
        return Charge(unknown if billed else 0)
    reported = bound if price is None else cost_nusd(price, usage)
    above = min(max(0, reported - bound), MOST_TOLD)
    if not _possible(usage, entry.chunk.size_of(entry.index), deployment):
        return Charge(unknown, None, above, _note(usage, "more than this call can have used"))
    if price is None or reported <= bound:
        return Charge(unknown if price is None else reported, usage)
    if not entry.chunk.limited:
        return Charge(reported, usage, 0)
    return Charge(bound, usage, above, _note(usage, "and a budget pays no more than was reserved"))


def _possible(usage: Usage, size: Size, deployment: Deployment) -> bool:
    """Whether a call of this size can have used so much, by a wide margin."""
    bound = size.input_bound(has_exact_tokens(deployment))
    most = WIDEST if bound is None else TIMES * bound + ROOM_IN
    return usage.input_tokens <= most and usage.output_tokens <= TIMES * size.output + ROOM_OUT


def _note(usage: Usage, why: str) -> str:
    told = f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens reported"
    return f"{told}, {why}: booked at its bound"
