"""What a running yard tells Prometheus."""

import json
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(url: str) -> tuple[str, Series]:
    """The text of a `/metrics`, and its samples by name and labels."""
    with urllib.request.urlopen(url, timeout=20) as reply:
        text = reply.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return text, {(s.name, frozenset(s.labels.items())): s.value for s in samples}


def targets(home: Path) -> dict[str, str]:
    """Addresses by process, as a Prometheus would find them."""
    listed = json.loads((home / "run" / "prometheus-targets.json").read_text())
    return {one["labels"]["process"]: f"http://{one['targets'][0]}/metrics" for one in listed}


def total(series: Series, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (found, has), value in series.items() if found == name and wanted <= has)
