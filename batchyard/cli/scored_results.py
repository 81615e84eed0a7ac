"""A router model beside judged prompts: those of a file, or the project's own scored results."""

from pathlib import Path

import numpy as np

from batchyard.cli.database import ask_project
from batchyard.embedded.home import Home
from batchyard.judged.choosing import digest, for_model
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted
from batchyard.judged.tables import read_table
from core.errors import InputError
from db.connect import Connection
from db.lessons import Lesson, read_lessons
from db.router_models import read_model
from routing.labelled import Labelled
from routing.measuring.held_back import Judged, completed, held_back
from routing.models.choice import ChoiceModel
from routing.models.state import Model
from tasks.encoders.find import load_ready
from tasks.router.lessons import labelled


def read_model_file(path: Path) -> Model:
    """The router model in a file. Raises InputError."""
    try:
        return load_ready(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error


def find_model(name: str, project: str) -> Model:
    """A model by its file or, where there is no such file, by its name in the project. Raises
    InputError, NotFoundError."""
    path = Path(name)
    if path.is_file():
        return read_model_file(path)
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"{name}: there is no such file.")

    async def stored(conn: Connection, project_id: int) -> bytes:
        return (await read_model(conn, project_id, name)).body

    return load_ready(ask_project(Home.from_env(), project, stored))


def judged_file(
    model: ChoiceModel, data: Path, text: str, prices: Path | None
) -> tuple[Judged, bool]:
    """A file's prompts with what the model tells of them; whether by held-back folds, since it
    was trained on them. Raises InputError."""
    wanted = Wanted(text=text, prices=read_prices(prices) if prices else None)
    found = for_model(read_table(data), model, wanted)
    if digest(found) == model.info.get("data"):
        return completed(*held_back(model, found)), True
    return completed(found, model.predict(found.prompts, found.metadata)), False


def judged_results(
    model: ChoiceModel, project: str, route: str | None = None, scorer: str | None = None
) -> Judged:
    """The scored answers of the project's jobs, or of those to a route, by held-back folds: the
    model may have been trained on them. Raises InputError where candidates have too few."""

    async def read(conn: Connection, project_id: int) -> list[Lesson]:
        return (await read_lessons(conn, project_id, route=route, scorer=scorer)).rows

    data = _columns(labelled(ask_project(Home.from_env(), project, read)), model)
    try:
        return completed(*held_back(model, data))
    except ValueError as error:
        raise InputError(f"The scored results cannot be cut into folds: {error}.") from error


def _columns(data: Labelled, model: ChoiceModel) -> Labelled:
    """The data with the model's candidates, in its order."""
    lacking = [name for name in model.candidates if name not in data.candidates]
    if lacking:
        raise InputError(
            f"The scored results have too few answers of {', '.join(lacking)}, which the model "
            "chooses among. Run a pilot (submit --pilot 500), or let the route explore"
        )
    at = [data.candidates.index(name) for name in model.candidates]
    quality = np.ascontiguousarray(data.quality[:, at])
    known = np.flatnonzero(~np.isnan(quality).all(axis=1))
    return Labelled(
        data.prompts, data.metadata, model.candidates, quality, data.cost[:, at], data.costs,
        weights=data.weights,
    ).take(known)  # fmt: skip
