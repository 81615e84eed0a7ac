"""Every query that we ship asks for series, and labels, that a running yard really has."""

import re

import pytest

from tests.batchyard.cli import dashboards

# What Prometheus itself adds to each series of a process.
TARGET = {"process", "instance", "job"}
NAMES = re.compile(r"\b(?:batchyard|gen_ai|process)_\w+\b(?!\s*(?:[=!]~|[=!]?=\"))")


@pytest.fixture(scope="module")
def exported(scraped) -> dict[str, set[str]]:
    """Labels by series, over all processes, after a job that met errors."""
    found: dict[str, set[str]] = {}
    for _, series in scraped.values():
        for name, labels in series:
            found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def test_the_parser_finds_all_that_the_queries_name() -> None:
    for query in dashboards.queries():
        named = set(NAMES.findall(query))
        assert named == {name for name, _ in dashboards.selectors(query)}, query


@pytest.mark.parametrize("query", dashboards.queries())
def test_a_query_finds_what_it_asks_for(query: str, exported: dict[str, set[str]]) -> None:
    wanted = list(dashboards.selectors(query))
    assert wanted
    known: set[str] = set(TARGET)
    for name, labels in wanted:
        assert name in exported, f"no process exports {name}"
        assert labels <= exported[name], f"{name} has no label {labels - exported[name]}"
        known |= exported[name]
    assert dashboards.grouped_by(query) <= known


def test_the_choices_find_what_they_offer(exported: dict[str, set[str]]) -> None:
    assert len(dashboards.variables()) == 2
    for name, label in dashboards.variables():
        assert label in exported[name]


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = dashboards.panels()
    assert len({one["id"] for one in panels}) == len(panels)
    titles = [one["title"] for one in panels]
    assert len(set(titles)) == len(titles)
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len(places)
