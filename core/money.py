"""Exact money: integer nano-dollars inside, Decimal dollars at the edges.

A cost is computed once per attempt as a Decimal and rounded *up* to a whole
nano-dollar, so that a sum of costs never understates what was spent.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from core.errors import InputError

NANO = Decimal(1_000_000_000)
TOKENS_PER_PRICE = Decimal(1_000_000)


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
class Price:
    """Dollars per million tokens; `source` says where the figure comes from."""

    input_per_mtok: Decimal
    output_per_mtok: Decimal
    source: str = "configured"

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars for this many tokens, rounded up once."""
        usd = (
            self.input_per_mtok * input_tokens + self.output_per_mtok * output_tokens
        ) / TOKENS_PER_PRICE
        return to_nusd(usd)
