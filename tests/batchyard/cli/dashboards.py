"""The queries of what we ship for Prometheus and Grafana, taken apart."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "batchyard.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
GRAFANA = {"$__rate_interval": "1m", "$provider": ".*", "$deployment": ".*"}


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard, its rows too."""
    return json.loads(DASHBOARD.read_text())["panels"]


def queries() -> list[str]:
    """Every query of the dashboard, its variables filled in, and of the alerts."""
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    asked += [rule["expr"] for group in _groups() for rule in group["rules"]]
    return [_filled(query) for query in asked]


def _groups() -> list[dict[str, Any]]:
    return yaml.safe_load(ALERTS.read_text())["groups"]


def _filled(query: str) -> str:
    for name, value in GRAFANA.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


def variables() -> list[tuple[str, str]]:
    """(series, label) of the dashboard's own choices."""
    listed = json.loads(DASHBOARD.read_text())["templating"]["list"]
    asked = [one["query"]["query"] for one in listed if one["type"] == "query"]
    found = [re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", query) for query in asked]
    return [(match[1], match[2]) for match in found if match is not None]


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """(series, labels that it is chosen by) of a query. Raises ValueError for one that
    Prometheus would not understand."""
    for node in _walk(promql_parser.parse(query)):
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name is not None
            yield node.name, {one.name for one in node.matchers.matchers}


def grouped_by(query: str) -> set[str]:
    """Labels that the query groups by."""
    found = re.findall(r"\bby \(([^)]*)\)", query)
    return {label.strip() for labels in found for label in labels.split(",")}


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from _walk(child)
    for child in getattr(node, "args", ()) or ():
        yield from _walk(child)
