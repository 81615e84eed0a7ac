"""Keeps a trained model in the project's store: what `router train --name` does at its end."""

from typing import Any, Literal

from batchyard.cli.database import ask_project
from batchyard.embedded.home import Home
from db.connect import Connection
from db.router_models import promote, promoted_info, put_model
from routing.model_file import dump
from routing.model_state import Model


def keep(model: Model, name: str, project: str) -> dict[str, Any]:
    """Keeps the model as the name's next version; what became of it, for JSON.

    Routes go by it at once where the name has no version in use, or where both are for intents
    and it is no less accurate on prompts that it was not trained on. Raises ConflictError where
    the name is one of a model for another task.
    """
    task: Literal["choice", "intent"] = "intent" if model.kind == "intent" else "choice"
    body, info = dump(model), dict(model.info)

    async def kept(conn: Connection, project_id: int) -> dict[str, Any]:
        before = await promoted_info(conn, project_id, name)
        version = await put_model(conn, project_id, name, task, body, info)
        better = before is None or (
            task == "intent" and info["accuracy"] >= before.get("accuracy", 0)
        )
        if better:
            await promote(conn, project_id, name, version)
        return {"name": name, "version": version, "promoted": better}

    return ask_project(Home.from_env(), project, kept)


def told(kept: dict[str, Any]) -> str:
    """A line for people about what became of a model."""
    line = f"{kept['name']} version {kept['version']}"
    if kept["promoted"]:
        return f"{line}: routes go by it now"
    return f"{line}: kept; batchyard router promote {kept['name']} {kept['version']} puts it in use"
