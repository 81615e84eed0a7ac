"""What body.model may name."""

from core.settings import Settings
from routing.targets import known_targets, resolve_target

SETTINGS = Settings.model_validate(
    {
        "providers": {"lab": {"base_url": "http://127.0.0.1:9/v1"}},
        "deployments": {
            "small": {"provider": "lab", "model": "m-8b"},
            "twin": {"provider": "lab", "model": "m-8b"},
            "large": {"provider": "lab", "model": "m-70b"},
        },
        "routes": {
            "default": {"candidates": ["small", "large"], "max_output": 77},
            "large": {"candidates": ["large", "small"], "choose": "cheapest"},
        },
    }
)


def test_a_route_has_its_own_candidates_and_rules() -> None:
    target = resolve_target("default", SETTINGS)
    assert target is not None
    assert (target.candidates, target.max_output) == (("small", "large"), 77)


def test_a_route_goes_before_a_deployment_of_the_same_name() -> None:
    target = resolve_target("large", SETTINGS)
    assert target is not None
    assert (target.candidates, target.choose) == (("large", "small"), "cheapest")


def test_a_deployment_is_its_only_candidate_under_the_default_rules() -> None:
    target = resolve_target("twin", SETTINGS)
    assert target is not None
    assert (target.candidates, target.max_output) == (("twin",), 77)


def test_a_model_has_every_deployment_that_serves_it() -> None:
    target = resolve_target("m-8b", SETTINGS)
    assert target is not None
    assert target.candidates == ("small", "twin")


def test_an_unknown_name_is_nothing() -> None:
    assert resolve_target("gpt-9", SETTINGS) is None
    assert known_targets(SETTINGS) == ["default", "large", "m-70b", "m-8b", "small", "twin"]


def test_a_deployment_stands_for_its_lines_in_order() -> None:
    keys = {"base_url": "http://127.0.0.1:9/v1", "keys": ["env:A", "env:B"]}
    tree = SETTINGS.model_dump(exclude_unset=True)
    tree["providers"]["two"] = keys
    tree["deployments"]["large"]["provider"] = "two"
    settings = Settings.model_validate(tree)
    candidates = {
        name: target.candidates
        for name in ("default", "large", "m-70b")
        if (target := resolve_target(name, settings)) is not None
    }
    assert candidates == {
        "default": ("small", "large#1", "large#2"),
        "large": ("large#1", "large#2", "small"),
        "m-70b": ("large#1", "large#2"),
    }


def test_who_names_a_deployment_is_not_chosen_for_by_the_default_routes_router() -> None:
    rules = {"candidates": ["small", "large"], "choose": "optimize", "router": "tickets"}
    routed = Settings.model_validate({**SETTINGS.model_dump(), "routes": {"default": rules}})
    asked = resolve_target("default", routed)
    named = resolve_target("small", routed)
    assert asked is not None
    assert asked.router is not None
    assert (asked.choose, asked.router.model) == ("optimize", "tickets")
    assert named is not None
    assert (named.choose, named.router) == ("ordered", None)
