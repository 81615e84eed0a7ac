"""Prices agree with the tables they come from, and are never made up."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TableUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from core.deployment import Usage
from core.money import Price, PriceTier, to_nusd
from providers.prices import context_of, cost_nusd, price_of

OPENAI = "https://api.openai.com/v1"

# Flat, with a cached price, in tiers, per request, by date.
MODELS = [
    (OPENAI, "gpt-5-mini"),
    (OPENAI, "gpt-4o-mini-2024-07-18"),
    ("https://api.groq.com/openai/v1", "llama-3.1-8b-instant"),
    ("https://api.x.ai/v1", "grok-4.20"),
    ("https://openrouter.ai/api/v1", "openai/gpt-oss-20b"),
    ("https://api.mistral.ai/v1", "mistral-small-latest"),
    ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro"),
    ("https://api.perplexity.ai", "sonar"),
]


def _price(target: str, model: str) -> Price:
    price = price_of(target, model)
    assert price is not None
    return price


@given(
    st.sampled_from(MODELS),
    st.integers(1, 400_000),
    st.integers(0, 100_000),
    st.floats(0, 1),
)
def test_costs_are_the_tables(
    known: tuple[str, str], reads: int, writes: int, share: float
) -> None:
    target, model = known
    cached = int(reads * share)
    cost = cost_nusd(_price(target, model), Usage(reads, writes, cached))
    usage = TableUsage(input_tokens=reads, output_tokens=writes, cache_read_tokens=cached)
    table = calc_price(usage, model, provider_api_url=target).total_price
    assert cost == to_nusd(table)


def test_an_hourly_price_is_taken_at_its_dearest() -> None:
    price = _price("https://api.deepseek.com", "deepseek-flash")
    for hour in range(24):
        when = datetime.now(UTC).replace(hour=hour, minute=15)
        usage = TableUsage(input_tokens=10**6, output_tokens=10**6, cache_read_tokens=0)
        table = calc_price(
            usage, "deepseek-flash", provider_id="deepseek", genai_request_timestamp=when
        )
        assert price.cost(10**6, 10**6) >= to_nusd(table.total_price)


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("http://127.0.0.1:8000/v1", "gpt-5-mini"),
        ("https://llm.example.org/v1", "gpt-5-mini"),
        (OPENAI, "no-such-model"),
        ("no-such-provider", "gpt-5-mini"),
        ("https://openrouter.ai/api/v1", "deepseek/deepseek-r1:free"),
        (OPENAI, "text-embedding-3-small"),
    ],
)
def test_what_nobody_knows_has_no_price(target: str, model: str) -> None:
    assert price_of(target, model) is None


def test_a_providers_id_does_for_its_address() -> None:
    assert price_of("openai", "gpt-5-mini") == price_of(OPENAI, "gpt-5-mini")


def test_togethers_new_address_is_known() -> None:
    model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
    assert price_of("https://api.together.ai/v1", model) is not None


def test_a_price_says_where_it_comes_from() -> None:
    assert _price(OPENAI, "gpt-5-mini").source.startswith("genai-prices ")


def test_windows_are_known_where_the_tables_know_them() -> None:
    assert context_of(OPENAI, "gpt-5-mini") == 400_000
    assert context_of("http://127.0.0.1:1/v1", "gpt-5-mini") is None


TIERED = Price(
    Decimal("1.25"),
    Decimal(10),
    cached_per_mtok=Decimal("0.125"),
    tiers=(PriceTier(200_000, Decimal("2.5"), Decimal(15), Decimal("0.25")),),
)


@given(st.integers(0, 400_000), st.integers(0, 400_000), st.integers(0, 50_000), st.integers(0, 9))
def test_more_tokens_never_cost_less(reads: int, more: int, writes: int, extra: int) -> None:
    assert TIERED.cost(reads, writes) <= TIERED.cost(reads + more, writes + extra)
    assert TIERED.cost(reads, writes, reads) <= TIERED.cost(reads, writes)


def test_a_configured_price_bills_cached_tokens_in_full() -> None:
    price = Price(Decimal(1), Decimal(2))
    assert price.cost(1_000_000, 0, 500_000) == 1_000_000_000


def test_fractions_are_rounded_up_once() -> None:
    assert Price(Decimal("0.0001"), Decimal("0.0001")).cost(1, 1) == 1
