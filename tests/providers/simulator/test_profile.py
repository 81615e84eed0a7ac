"""Profiles: what is accepted, and how a mistake is explained."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import ConfigError
from providers.simulator import load_profile, load_profiles
from providers.simulator.answers import load_key


@pytest.mark.parametrize(
    ("data", "place", "hint"),
    [
        ({"faults": {"p_500": 1.5}}, "faults.p_500", "<= 1.0"),
        ({"faults": {"p_rest": 0.5}}, "faults.p_rest", "'p_reset'"),
        ({"faults": {"p_429": 0.7, "p_reset": 0.4}}, "faults", "add up to 1.1"),
        ({"latncy": {}}, "latncy", "'latency'"),
        ({"latency": {"kind": "normal"}}, "latency.kind", "normal"),
        ({"limits": {"rpm": "many"}}, "limits.rpm", "float"),
        ({"limits": {"rpm": 0}}, "limits.rpm", "> 0"),
        ({"models": {"mini": {"acuracy": 1}}}, "models.mini.acuracy", "'accuracy'"),
        ({"models": {"mini": {"price": {"input_per_mtok": -1}}}}, "models.mini.price", "zero"),
        ({"models": {}}, "profile", "empty"),
        ({"models": {"mini": {"context": 0}}}, "models.mini.context", ">= 1"),
        ({"answers": {"q1": {"choices": ["a"]}}}, "answers.q1", "`answer`"),
        ({"faults": {"outages": [{"start": 1}]}}, "faults.outages[0].start", "'start_s'"),
        ({"credential": ""}, "profile", "leave it out"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_remedy(data, place, hint):
    with pytest.raises(ConfigError) as caught:
        load_profile(data)
    assert str(caught.value).startswith(f"{place}: ")
    assert hint in str(caught.value)


def test_the_place_carries_the_providers_name(tmp_path: Path):
    file = tmp_path / "sim.yaml"
    file.write_text("providers:\n  lab:\n    faults: {p_500: 2}\n")
    with pytest.raises(ConfigError, match=r"^providers\.lab\.faults\.p_500: "):
        load_profiles(file)


def test_one_profile_or_several_from_yaml_or_json(tmp_path: Path):
    one = tmp_path / "one.yaml"
    one.write_text("seed: 4\nmodels:\n  mini: {price: {input_per_mtok: 0.1}}\n")
    profile = load_profiles(one)[""]
    assert profile.seed == 4
    assert profile.models["mini"].price.input_per_mtok == Decimal("0.1")

    several = tmp_path / "several.json"
    several.write_text(json.dumps({"providers": {"a": {"seed": 1}, "b": {"seed": 2}}}))
    assert {name: one.seed for name, one in load_profiles(several).items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["- 1\n", "providers: {}\n", "providers: {a: {}}\nseed: 1\n", "{"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "sim.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"sim\.yaml"):
        load_profiles(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_profiles(tmp_path / "absent.yaml")


def test_a_key_file_lies_beside_its_profile(tmp_path: Path):
    (tmp_path / "key.jsonl").write_text(
        '{"id": "q1", "answer": "yes"}\n\n{"id":"q2","answer":"no"}'
    )
    (tmp_path / "sim.yaml").write_text("key_file: key.jsonl\nanswers: {q2: maybe}\n")
    key = load_key(load_profiles(tmp_path / "sim.yaml")[""])
    assert key.entries["q1"].answer == "yes"
    assert key.entries["q2"].answer == "maybe"
    assert key.choices == ("maybe", "yes")


def test_a_key_file_may_be_one_json_object(tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text('{"q1": "yes", "q2": {"answer": "no", "choices": ["no", "yes"]}}')
    key = load_key(load_profile({"key_file": str(file)}))
    assert key.entries["q2"].choices == ("no", "yes")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('{"answer": "x"}', "line 2.*id"),
        ('{"id": "q1", "answer": "x"}', "line 2.*twice"),
        ('{"id": "q9", "anser": "x"}', "line 2.anser: unknown field"),
        ("nonsense", "line 2: not a JSON object"),
    ],
)
def test_a_bad_key_line_is_named(tmp_path: Path, line: str, hint: str):
    file = tmp_path / "key.jsonl"
    file.write_text('{"id": "q1", "answer": "yes"}\n' + line)
    with pytest.raises(ConfigError, match=hint):
        load_key(load_profile({"key_file": str(file)}))
