"""Keeps a trained model in the project's store: what `router train --name` does at its end."""

from typing import Any, Literal

from batchyard.cli.database import ask_project
from batchyard.embedded.home import Home
from db.connect import Connection
from db.router_models import StoredModel, promote, promoted, put_model
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from routing.models.file import dump
from routing.models.state import Model
from tasks.encoders.find import load_ready
from tasks.router.lessons import errors


def keep(model: Model, name: str, project: str, judged: Labelled | None = None) -> dict[str, Any]:
    """Keeps the model as the name's next version; what became of it, for JSON.

    Routes go by it at once where the name has no version in use, or where it is no worse than
    that on prompts that it was not trained on: for intents by its accuracy; for choice by the
    squared error of predictions of the `judged` prompts by five-fold cross-validation, where the
    version in use knows all its candidates. Raises ConflictError where the name is one of a model
    for another task.
    """
    task: Literal["choice", "intent"] = "intent" if model.kind == "intent" else "choice"
    body, info = dump(model), dict(model.info)

    async def kept(conn: Connection, project_id: int) -> dict[str, Any]:
        before = await promoted(conn, project_id, name)
        version = await put_model(conn, project_id, name, task, body, info)
        better = before is None or _no_worse(model, before, judged)
        if better:
            await promote(conn, project_id, name, version)
        return {"name": name, "version": version, "promoted": better}

    return ask_project(Home.from_env(), project, kept)


def _no_worse(model: Model, before: StoredModel, judged: Labelled | None) -> bool:
    if judged is None:
        return bool(model.info["accuracy"] >= before.info.get("accuracy", 0))
    known = load_ready(before.body)
    if not isinstance(known, ChoiceModel) or not set(judged.candidates) <= set(known.candidates):
        return True
    if not set(known.metadata) <= set(judged.metadata[0]):
        # It would be judged without what it reads.
        return False
    encoder = model.encoder if isinstance(model, ChoiceModel) else None
    error, known_error = errors(judged, model.info["metadata"], known, encoder)
    return known_error is None or error <= known_error


def told(kept: dict[str, Any]) -> str:
    """A line for people about what became of a model."""
    line = f"{kept['name']} version {kept['version']}"
    if kept["promoted"]:
        return f"{line}: routes go by it now"
    return f"{line}: kept; batchyard router promote {kept['name']} {kept['version']} puts it in use"
