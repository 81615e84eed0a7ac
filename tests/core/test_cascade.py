"""How a cascade is written in a configuration, and what is refused with which remedy."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.cascade import Cascade
from core.plan import Plan
from core.route import RouteSettings
from core.settings import Settings
from routing.targets import resolve_target

NEXT = {"invalid": "next"}


def route(**parts: Any) -> RouteSettings:
    return RouteSettings.model_validate(
        {"candidates": ["small", "mini", "large"], "choose": "cascade", **parts}
    )


@pytest.mark.parametrize(
    ("parts", "resolved"),
    [
        ({"router": "tickets"}, Cascade("learned", 0)),
        ({"router": "tickets", "cascade": {"ask": 2}}, Cascade("learned", 2)),
        ({"router": {"model": "tickets", "quality": 0.9}}, Cascade("learned", 0)),
        ({"cascade": "agreement"}, Cascade("agreement", 2)),
        ({"cascade": {"accept": "agreement", "compare": "json"}}, Cascade("agreement", 2, "json")),
        ({"cascade": "checks", "checks": NEXT}, Cascade("checks")),
    ],
)
def test_short_and_long_forms(parts: dict[str, Any], resolved: Cascade) -> None:
    provider = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}
    settings = Settings.model_validate(
        {
            "providers": {"lab": provider},
            "deployments": {
                name: {"provider": "lab", "model": name} for name in ("small", "mini", "large")
            },
            "routes": {"smart": route(**parts).model_dump()},
        }
    )
    target = resolve_target("smart", settings)
    assert target is not None
    assert target.cascade == resolved
    named = resolve_target("mini", settings)
    assert named is not None
    assert named.cascade is None


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, "router"),
        ({"cascade": "agreement", "choose": "ordered"}, "choose: cascade"),
        ({"cascade": "agreement", "candidates": ["small", "large"]}, "Name at least 3"),
        ({"cascade": "checks"}, "invalid: next"),
        ({"cascade": {"accept": "agreement", "threshold": 0.5}}, "leave the threshold out"),
        ({"cascade": {"accept": "agreement", "ask": 1}}, "Write 2 or more"),
        ({"cascade": "agreement", "router": {"model": "a", "quality": 0.9}}, "that is learned"),
        (
            {"cascade": {"threshold": 0.5}, "router": {"model": "a", "usd_per_1k": 2}},
            "stands beside the router's aim",
        ),
        ({"cascade": {"compare": "json"}, "router": "tickets"}, "Write ask: 2"),
        ({"cascade": {"accept": "checks", "ask": 2}, "checks": NEXT}, "checked as it comes"),
    ],
)
def test_what_does_not_fit_is_told_with_its_remedy(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        route(**parts)


def test_a_model_says_how_many_answer_first_and_the_settings_may_say_fewer() -> None:
    assert Cascade("learned", 0).by_model(7, 3) == Cascade("learned", 2, model=7)
    assert Cascade("learned", 1).by_model(7, 3).ask == 1
    # One is drawn to explore, or only the strong one is left: there is nobody to wait for.
    assert Cascade("learned", 2).by_model(7, 2).ask == 1
    assert Cascade("learned", 0).by_model(7, 1).ask == 1


def test_a_plan_keeps_its_cascade() -> None:
    plan = Plan("smart", ("small", "large"), 100, 6, cascade=Cascade("learned", 1, threshold=0.8))
    assert Plan.from_body(plan.body()) == plan
