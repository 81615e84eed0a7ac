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
    """Its figures in a line: `apgr 0.644, aiq 0.839`; by cross-validation where every candidate
    has answered every prompt, since without that they say little."""
    info, found = line.info, line.info
    if all(count == info.get("rows") for count in info.get("scores", {}).values()):
        found = info | info.get("cross_validated", {})
    told = [f"{name} {found[name]:.3f}" for name in FIGURES if isinstance(found.get(name), float)]
    return ", ".join(told) or "-"
