"""A router model for scripts and for people."""

from typing import Any

from db.router_models import ModelLine

# What is told of a model in one line, where training has measured it.
FIGURES = ("apgr", "aiq", "accuracy", "oos_auroc")


def model_json(line: ModelLine) -> dict[str, Any]:
    """A version, without its body; `info` is what training wrote down."""
    return {
        "name": line.name,
        "version": line.version,
        "task": line.task,
        "promoted": line.promoted,
        "bytes": line.size,
        "created_at": line.created_at,
        "info": line.info,
    }


def names_of(line: ModelLine) -> str:
    """What it chooses among: its candidates, or how many intents."""
    candidates = line.info.get("candidates")
    if candidates:
        return ", ".join(candidates)
    intents = line.info.get("intents")
    return f"{intents} intents" if intents else "-"


def figures(line: ModelLine) -> str:
    """Its figures in a line, by cross-validation: `apgr 0.644, aiq 0.839`."""
    found = line.info | line.info.get("cross_validated", {})
    told = [f"{name} {found[name]:.3f}" for name in FIGURES if isinstance(found.get(name), float)]
    return ", ".join(told) or "-"
