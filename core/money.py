"""Exact money: integer nano-dollars inside, Decimal dollars at the edges.

A cost is computed once per attempt as a Decimal and rounded *up* to a whole
nano-dollar, so that a sum of costs never understates what was spent.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from core.errors import InputError

NANO = Decimal(1_000_000_000)
TOKENS_PER_PRICE = 1_000_000


def to_nusd(usd: Decimal) -> int:
    """Dollars to nano-dollars, rounded up."""
    return int((usd * NANO).to_integral_value(rounding=ROUND_CEILING))


def to_usd(nusd: int) -> Decimal:
    """Nano-dollars to dollars, exact."""
    return Decimal(nusd) / NANO


def usd_text(nusd: int | None) -> str | None:
    """A decimal string of dollars for JSON (`"0.00123"`), None where the cost is unknown."""
    if nusd is None:
        return None
    text = f"{to_usd(nusd):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd_about(nusd: int) -> str:
    """Dollars for people, in the two digits that matter: `"1,200"`, `"3.41"`, `"0.0012"`."""
    amount = to_usd(nusd)
    if amount >= 1:
        return f"{amount:,.{0 if amount >= 10 else 2}f}"
    text = f"{round(amount, 1 - amount.adjusted()):f}" if amount else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_usd(text: str) -> int:
    """A user's amount of dollars (`"5"`, `"0.25"`, `"$3"`) in nano-dollars.

    Raises InputError for anything that is not a finite amount above zero.
    """
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise InputError(f"budget {text!r} is not an amount of dollars. Give e.g. 5 or 0.25")
    return to_nusd(amount)


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Dollars per million tokens for calls with more than `above` input tokens."""

    above: int
    input_per_mtok: Decimal
    output_per_mtok: Decimal
    cached_per_mtok: Decimal | None = None


class _Rate(NamedTuple):
    """What a token costs in calls with more than `above` input tokens, in a Price's unit."""

    above: int
    read: int
    cached: int
    written: int


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens; `source` says where the figure comes from.

    `cached_per_mtok` is for input tokens read from the provider's cache, the full input price
    where it is None. `per_request` is charged for each call. The last of the `tiers`, in
    ascending order, that a call's input exceeds prices the whole call.
    """

    input_per_mtok: Decimal
    output_per_mtok: Decimal
    source: str = "configured"
    cached_per_mtok: Decimal | None = None
    per_request: Decimal = Decimal(0)
    tiers: tuple[PriceTier, ...] = ()
    # So many of the unit that everything here is a whole number of are a nano-dollar: costs
    # are exact, and integers.
    _units: int = field(init=False, repr=False, compare=False)
    _per_call: int = field(init=False, repr=False, compare=False)
    _rates: tuple[_Rate, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nano = int(NANO)
        per_call = Fraction(self.per_request) * nano
        rates = [(0, *_per_token(self)), *((tier.above, *_per_token(tier)) for tier in self.tiers)]
        units = lcm(per_call.denominator, *(one.denominator for _, *row in rates for one in row))
        whole = tuple(_Rate(above, *(int(one * units) for one in row)) for above, *row in rates)
        object.__setattr__(self, "_units", units)
        object.__setattr__(self, "_per_call", int(per_call * units))
        object.__setattr__(self, "_rates", whole)

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Nano-dollars for this many tokens, rounded up once.

        `input_tokens` includes the `cached_tokens`. More tokens never cost less, as long as
        no tier is cheaper than the one below it.
        """
        rate = self._rates[0]
        for tier in self._rates[1:]:
            if input_tokens > tier.above:
                rate = tier
        told = rate.read * (input_tokens - cached_tokens) + rate.cached * cached_tokens
        return -(-(told + rate.written * output_tokens + self._per_call) // self._units)


def _per_token(rate: Price | PriceTier) -> tuple[Fraction, Fraction, Fraction]:
    """Nano-dollars for a token read, read from the cache, and written."""
    cached = rate.input_per_mtok if rate.cached_per_mtok is None else rate.cached_per_mtok
    nano = Fraction(int(NANO), TOKENS_PER_PRICE)
    return (
        Fraction(rate.input_per_mtok) * nano,
        Fraction(cached) * nano,
        Fraction(rate.output_per_mtok) * nano,
    )
