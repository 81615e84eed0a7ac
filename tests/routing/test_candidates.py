"""The plan of a request: which deployments are large enough for it, and for what."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.deployment import Deployment
from core.money import Price
from core.plan import TOO_LONG, USUAL
from core.ports import Buckets
from core.size import Size
from routing.candidates import fits, plan_for, windows
from routing.targets import Target


def deployment(name: str, *, context: int | None = None) -> Deployment:
    return Deployment(
        name=name,
        provider="lab",
        kind="openai",
        base_url="http://127.0.0.1:9/v1",
        model=name,
        timeout=1.0,
        api_key=None,
        buckets=Buckets(name, None, None, None),
        price=Price(Decimal(1), Decimal(2)),
        context=context,
    )


YARD = {
    one.name: one
    for one in (
        deployment("short", context=100),
        deployment("middle", context=1000),
        deployment("long", context=9000),
        deployment("unknown"),
    )
}


def target(*candidates: str, too_long: tuple[str, ...] = (), choose: str = "ordered") -> Target:
    weights = {name: 2.0 + n for n, name in enumerate(candidates)} if choose == "weighted" else {}
    return Target(
        "default",
        candidates,
        choose,
        64,
        6,
        weights=weights,
        too_long=too_long,
        refused=("middle",),
    )


def size(tokens: int, output: int) -> Size:
    return Size(tokens, 4 * tokens, 128, output)


def test_candidates_keep_the_order_of_the_route() -> None:
    plan, among = plan_for(size(10, 10), target(*YARD), YARD)
    assert (plan.candidates, among) == (tuple(YARD), USUAL)
    assert plan.mask() == 0b1111


def test_a_window_that_is_too_small_is_left_out_with_its_weight() -> None:
    plan, _ = plan_for(size(90, 20), target(*YARD, choose="weighted"), YARD)
    assert plan.candidates == ("middle", "long", "unknown")
    assert plan.weights == (3.0, 4.0, 5.0)


def test_what_fits_no_usual_candidate_begins_with_the_list_for_what_is_too_long() -> None:
    plan, among = plan_for(size(500, 20), target("short", too_long=("long",)), YARD)
    assert (plan.candidates, among) == (("long", "middle"), TOO_LONG)
    assert plan.mask(TOO_LONG) == 0b01
    assert plan.mask() == 0


def test_when_no_window_is_large_enough_the_provider_may_say_so() -> None:
    for too_long in ((), ("middle",)):
        plan, among = plan_for(size(5000, 20), target("short", too_long=too_long), YARD)
        assert (plan.candidates, among) == (("short",), USUAL)


@given(
    st.integers(0, 10_000),
    st.integers(1, 2000),
    st.lists(st.sampled_from([*YARD]), min_size=1, unique=True),
    st.lists(st.sampled_from([*YARD]), unique=True),
)
def test_some_candidate_always_stays_and_none_is_made_up(
    tokens: int, output: int, usual: list[str], longer: list[str]
) -> None:
    asked = size(tokens, output)
    plan, among = plan_for(asked, target(*usual, too_long=tuple(longer)), YARD)
    assert plan.mask(among)
    assert len(set(plan.candidates)) == len(plan.candidates)
    assert {*plan.too_long} <= {*longer}
    large = tuple(name for name in usual if fits(asked, YARD[name]))
    assert plan.candidates[: plan.own] in (large, tuple(usual))


def test_a_requests_own_fallbacks_come_after_the_routes_candidates() -> None:
    wishing = replace(target("short", "middle"), fallbacks=("unknown", "short"), timeout=9.0)
    plan, _ = plan_for(size(10, 10), replace(wishing, candidates=("middle",)), YARD)
    assert (plan.candidates, plan.own) == (("middle", "unknown", "short"), 1)
    assert (plan.mask(), plan.timeout) == (0b111, 9.0)
    # They stand for the route's where only they are large enough.
    plan, among = plan_for(size(5000, 10), wishing, YARD)
    assert (plan.candidates, plan.own, among) == (("unknown",), 0, USUAL)


def test_windows_tell_plans_apart() -> None:
    assert windows(target("short", "unknown", too_long=("long",)), YARD) == [100, 1000, 9000]
