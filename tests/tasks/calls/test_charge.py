"""What a call is booked at, and which counts of its provider are believed."""

from dataclasses import replace
from decimal import Decimal

import pytest

from core.deployment import Usage
from core.money import Price
from core.work import Entry
from tasks.calls.charge import MOST_TOLD, charge
from tests.tasks.calls.test_attempt import PRICE, UNBOUNDED, deployment, entry

# 300,000 nano-dollars: 100 input and 100 output tokens.
BOUND = 300_000
HONEST = Usage(10, 100)
# Of an output limit of 100: a model that goes on thinking.
THOUGHT = Usage(10, 5_000, reasoning_tokens=4_900)
ABSURD = Usage(10, 2_000_000_000)


def asked(*, limited: bool = True, bound: int = BOUND) -> Entry:
    return entry("small", limited=limited, bound=bound)


def test_what_is_reported_within_the_bound_is_booked() -> None:
    charged = charge(asked(), deployment("small"), HONEST, billed=True)
    assert (charged.cost_nusd, charged.usage) == (210_000, HONEST)
    assert (charged.unbooked_nusd, charged.note) == (None, None)


def test_under_a_budget_nothing_is_booked_above_the_bound() -> None:
    charged = charge(asked(), deployment("small"), THOUGHT, billed=True)
    assert (charged.cost_nusd, charged.usage) == (BOUND, THOUGHT)
    assert charged.unbooked_nusd == 10_010_000 - BOUND
    assert charged.note is not None
    assert "5,000 output tokens reported, and a budget pays no more" in charged.note


def test_without_a_budget_what_is_possible_is_booked_in_full() -> None:
    charged = charge(asked(limited=False), deployment("small"), THOUGHT, billed=True)
    assert (charged.cost_nusd, charged.usage) == (10_010_000, THOUGHT)
    assert (charged.unbooked_nusd, charged.note) == (0, None)


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("usage", [ABSURD, Usage(2_000_000_000, 3), Usage(20_000, 200_000)])
def test_what_nobody_can_have_used_is_unknown(usage: Usage, *, limited: bool) -> None:
    charged = charge(asked(limited=limited), deployment("small"), usage, billed=True)
    assert (charged.cost_nusd, charged.usage) == (BOUND, None)
    assert charged.unbooked_nusd
    assert charged.note is not None
    assert "more than this call can have used: booked at its bound" in charged.note


def test_a_free_model_is_believed_no_more() -> None:
    free = deployment("small", price=Price(Decimal(0), Decimal(0)))
    charged = charge(asked(bound=0), free, ABSURD, billed=True)
    assert (charged.cost_nusd, charged.usage, charged.unbooked_nusd) == (0, None, 0)


def test_without_a_price_nobody_knows_what_an_absurd_usage_costs() -> None:
    charged = charge(asked(bound=0), deployment("small", price=None), ABSURD, billed=True)
    assert (charged.cost_nusd, charged.usage) == (None, None)


def test_where_nothing_bounds_the_input_a_whole_window_is_possible() -> None:
    remote = entry("small", body=UNBOUNDED, bound=BOUND)
    read = Usage(900_000, 50)
    assert charge(remote, deployment("small"), read, billed=True).cost_nusd == 900_100_000
    absurd = Usage(11_000_000, 50)
    assert charge(remote, deployment("small"), absurd, billed=True).cost_nusd == BOUND


def test_what_is_told_as_not_booked_can_be_summed_up() -> None:
    dear = replace(deployment("small"), price=Price(Decimal(10**9), Decimal(10**9)))
    assert charge(asked(), dear, ABSURD, billed=True).unbooked_nusd == MOST_TOLD


def test_no_usage_is_the_bound_where_money_may_be_gone() -> None:
    small = deployment("small", price=PRICE)
    assert charge(asked(), small, None, billed=True).cost_nusd == BOUND
    assert charge(asked(), small, None, billed=False).cost_nusd == 0
