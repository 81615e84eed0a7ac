"""The order in which candidates are tried."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.deployment import Deployment
from core.money import Price
from core.ports import Buckets
from routing.candidates import Request, order
from routing.targets import Target


def deployment(name: str, *, context: int | None = None, price: str | None = None) -> Deployment:
    cost = None if price is None else Price(Decimal(price), Decimal(price))
    return Deployment(
        name=name,
        provider="lab",
        kind="openai",
        base_url="http://127.0.0.1:9/v1",
        model=name,
        timeout=1.0,
        api_key=None,
        buckets=Buckets(name, None, None, None),
        price=cost,
        context=context,
    )


YARD = {
    one.name: one
    for one in (
        deployment("short", context=100, price="1"),
        deployment("dear", context=1000, price="9"),
        deployment("cheap", context=1000, price="2"),
        deployment("unpriced"),
    )
}


def target(choose: str = "ordered") -> Target:
    return Target("default", tuple(YARD), choose, 64, 6)


def test_ordered_keeps_the_order_of_the_route() -> None:
    assert order(Request(10, 10), target(), YARD) == tuple(YARD)


def test_a_window_that_is_too_small_is_left_out() -> None:
    assert order(Request(90, 20), target(), YARD) == ("dear", "cheap", "unpriced")


def test_when_no_window_is_large_enough_the_provider_may_say_so() -> None:
    only = Target("default", ("short",), "ordered", 64, 6)
    assert order(Request(500, 20), only, YARD) == ("short",)


def test_cheapest_goes_by_price_and_knows_no_price_as_the_worst() -> None:
    assert order(Request(10, 10), target("cheapest"), YARD) == (
        "short",
        "cheap",
        "dear",
        "unpriced",
    )


@given(st.integers(0, 2000), st.integers(1, 2000), st.sampled_from(["ordered", "cheapest"]))
def test_some_candidate_always_stays_and_none_is_made_up(
    tokens: int, output: int, choose: str
) -> None:
    names = order(Request(tokens, output), target(choose), YARD)
    assert names
    assert len(set(names)) == len(names)
    assert set(names) <= set(YARD)
