"""The demo's material is whole, and a yard would take its configuration and its lines."""

import json
from collections import Counter
from pathlib import Path

import pytest

from batchyard.demo import desk
from batchyard.demo.plan import (
    ALONE,
    CLOUDS,
    FOLDER,
    LOCAL,
    MOST_LOCAL,
    ROUTER,
    SHARES,
    Material,
    cloud_lines,
    configuration,
    load_material,
    local_lines,
    local_messages,
)
from core.errors import InputError
from core.settings import Settings
from providers.intent_files import read_intents
from providers.simulator.answers import load_key
from providers.simulator.profile import load_profile
from routing.targets import resolve_target
from tasks.intake.line import Intake


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material()


def test_every_message_has_its_labels_and_an_entry_in_the_key(material: Material) -> None:
    topics = json.loads((FOLDER / "labels.json").read_text())
    assert len(material.messages) == len({message.id for message in material.messages}) == 385
    assert len(material.labels) == 77
    for message in material.messages:
        assert message.label in topics[message.coarse]
    settings = Settings.model_validate(configuration(local=False))
    key = load_key(load_profile(settings.providers["skyline"].profile))
    assert {one: entry.answer for one, entry in key.entries.items()} == {
        message.id: message.label for message in material.messages
    }
    assert all(entry.answer not in entry.choices for entry in key.entries.values())


@pytest.mark.parametrize("local", [True, False])
def test_every_line_is_accepted_under_the_configuration(material: Material, local: bool) -> None:
    settings = Settings.model_validate(configuration(local=local))
    known = Intake(
        lambda name: None if resolve_target(name, settings) else "unknown",
        "default",
        lambda names: 120.0,
    )
    lines = [*cloud_lines(material), *(local_lines(material) if local else ())]
    rows = [known.read(n, json.dumps(line).encode()) for n, line in enumerate(lines, start=1)]
    assert [row.custom_id for row in rows] == [line["custom_id"] for line in lines]
    assert len(rows) == 385 + (MOST_LOCAL if local else 0)


def test_the_desks_messages_are_about_its_intents_and_stand_apart_from_the_question(
    material: Material,
) -> None:
    settings = Settings.model_validate(configuration(local=False))
    intents = read_intents(desk.INTENTS)
    mine = desk.messages(material)
    assert {message.label for message in mine} == set(intents.intents)
    assert not {one.text for one in desk.strangers()} & set(intents.out_of_scope)
    lines = list(desk.lines(material, ROUTER))
    assert len(lines) == len(mine) + len(desk.strangers()) + 1
    assert lines[0]["messages"][1]["content"] == mine[0].text
    assert mine[0].text not in lines[0]["messages"][0]["content"]
    assert settings.routes[ROUTER].candidates[-1:] == settings.routes[ALONE].candidates


def test_every_cloud_gets_its_share(material: Material) -> None:
    started = Counter(line["model"] for line in cloud_lines(material))
    for route, share in SHARES:
        assert abs(started[route] - 385 * share / 20) < 10


def test_a_cloud_keeps_the_limits_that_are_declared_for_it() -> None:
    settings = Settings.model_validate(configuration(local=False))
    for name in CLOUDS:
        enforced = load_profile(settings.providers[name].profile).limits
        declared = settings.deployments[name].limits
        assert (enforced.rpm, enforced.tpm) == (declared.rpm, declared.tpm)


def test_the_local_model_gets_all_topics_alike_and_can_say_no_other(material: Material) -> None:
    picked = Counter(message.coarse for message in local_messages(material.messages))
    assert sum(picked.values()) == MOST_LOCAL
    assert max(picked.values()) - min(picked.values()) <= 1
    line = next(iter(local_lines(material)))
    assert all(f'"{topic}"' in line["grammar"] for topic in material.topics)
    assert line["model"] == LOCAL


def test_says_what_is_missing_outside_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="checkout"):
        load_material(tmp_path)
