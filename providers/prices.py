"""What tokens cost: genai-prices' tables, resolved once per model and day.

Nothing is priced by hand and nothing is priced at zero for want of a figure: a model that
the tables do not know has no price. https://github.com/pydantic/genai-prices
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Final

from genai_prices import data_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from core.deployment import Usage
from core.money import Price, PriceTier

SOURCE: Final = f"genai-prices {version('genai-prices')}"

# Together's documented address; the tables know the former one.
_MOVED: Final = {"https://api.together.ai": "https://api.together.xyz"}
_PER_THOUSAND: Final = Decimal(1000)


def price_of(target: str, model: str) -> Price | None:
    """The price of a model at a provider, None where nobody knows it.

    `target` is the provider's base URL, or its id in genai-prices (`openai`, `x-ai`, ...). A
    server of one's own is priced by nobody, whatever its model is called.
    """
    return _price_on(target, model, datetime.now(UTC).date())


def context_of(target: str, model: str) -> int | None:
    """The model's context window in tokens, None where it is not known."""
    found = _find(target, model)
    return None if found is None else found.context_window


def cost_nusd(price: Price, usage: Usage) -> int:
    """What the provider charges for a counted usage, in nano-dollars, rounded up once."""
    return price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)


@lru_cache(maxsize=1024)
def _price_on(target: str, model: str, today: date) -> Price | None:
    found = _find(target, model)
    if found is None:
        return None
    prices = [_tiers(price) for price in _in_force(found, today)]
    if not prices or None in prices:
        return None
    return _dearest([price for price in prices if price is not None])


@lru_cache(maxsize=1024)
def _find(target: str, model: str) -> ModelInfo | None:
    for former, listed in _MOVED.items():
        target = target.replace(former, listed, 1)
    is_url = "://" in target
    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(
            model, None, None if is_url else target, target if is_url else None
        )
    except LookupError:
        return None
    return found


def _in_force(model: ModelInfo, today: date) -> Iterable[ModelPrice]:
    """Today's price. Where it changes with the hour, all of the day's: calls are priced at
    the dearest, because a reservation made now may be spent later."""
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    if isinstance(model.prices, ModelPrice):
        return (model.get_prices(midnight),)
    times = (midnight + timedelta(minutes=30 * step) for step in range(48))
    prices = (model.get_prices(time) for time in times)
    return {id(price): price for price in prices}.values()


def _tiers(price: ModelPrice) -> Price | None:
    """One table row as a Price, None where it prices no text in or no text out."""
    reads, writes = price.input_mtok, price.output_mtok
    if reads is None or writes is None:
        return None
    cached, reasoning = price.cache_read_mtok, price.output_reasoning_mtok
    starts = {0}
    for value in (reads, writes, cached):
        if isinstance(value, TieredPrices):
            starts.update(tier.start for tier in value.tiers)
    rows: list[PriceTier] = []
    for start in sorted(starts):
        row = PriceTier(
            above=start,
            input_per_mtok=_above(reads, start),
            output_per_mtok=max(_above(writes, start), _above(reasoning or writes, start)),
            cached_per_mtok=None if cached is None else _above(cached, start),
        )
        rows.append(_at_least(row, rows[-1]) if rows else row)
    per_request = price.requests_kcount
    flat = per_request if isinstance(per_request, Decimal) else Decimal(0)
    return Price(
        input_per_mtok=rows[0].input_per_mtok,
        output_per_mtok=rows[0].output_per_mtok,
        source=SOURCE,
        cached_per_mtok=rows[0].cached_per_mtok,
        per_request=flat / _PER_THOUSAND,
        tiers=tuple(rows[1:]),
    )


def _above(value: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    rate: Decimal = value.base
    for tier in value.tiers:
        if start >= tier.start:
            rate = tier.price
    return rate


def _at_least(row: PriceTier, lower: PriceTier) -> PriceTier:
    """More tokens must never cost less: bounds are computed from the upper end."""
    return PriceTier(
        above=row.above,
        input_per_mtok=max(row.input_per_mtok, lower.input_per_mtok),
        output_per_mtok=max(row.output_per_mtok, lower.output_per_mtok),
        cached_per_mtok=row.cached_per_mtok,
    )


def _dearest(prices: list[Price]) -> Price:
    return max(prices, key=lambda price: (price.input_per_mtok, price.output_per_mtok))
