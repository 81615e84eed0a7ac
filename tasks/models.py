"""Trained models in this process, each loaded when a step first needs it.

What loads them (numpy, scipy) is imported then, and not before: only control workers ever
need it, and their call workers and producers stay small.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.lazy import lazy
from db.connect import Connection
from db.router_models import promoted, promoted_id

if TYPE_CHECKING:
    from tasks.encoders import find as encoders
else:
    encoders = lazy("tasks.encoders.find")

MOST = 8
"""Models that are kept; a large one takes some ten megabytes."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version of a model: `model` is ready to predict (`tasks.encoders.find.load_ready`), `id`
    its row's."""

    id: int
    name: str
    version: int
    model: Any

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class Models:
    """The promoted models by the id of their row: another promotion is another row."""

    def __init__(self) -> None:
        self._loaded: dict[int, LoadedModel] = {}

    async def promoted(self, conn: Connection, project_id: int, name: str) -> LoadedModel | None:
        """The project's promoted model of the name; None where it has none. Raises InputError
        for one that cannot be used here."""
        id_ = await promoted_id(conn, project_id, name)
        if id_ is None:
            return None
        if id_ not in self._loaded:
            stored = await promoted(conn, project_id, name)
            if stored is None:
                return None
            model = await asyncio.to_thread(encoders.load_ready, stored.body)
            while len(self._loaded) >= MOST:
                self._loaded.pop(next(iter(self._loaded)))
            id_ = stored.id
            self._loaded[id_] = LoadedModel(id_, name, stored.version, model)
        return self._loaded[id_]
