"""The store of router models: every training is a version, one of them is promoted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from core.errors import ConflictError, NotFoundError
from db.connect import Connection, only_row, statements

SQL = statements("router_models")
Task = Literal["choice", "intent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """A version without its body; `size` is that of the body in bytes."""

    name: str
    version: int
    task: Task
    promoted: bool
    info: dict[str, Any]
    size: int
    created_at: datetime


class StoredModel(NamedTuple):
    """A version with its body: the bytes of a model's file."""

    id: int
    version: int
    body: bytes
    info: dict[str, Any]
    promoted: bool


async def put_model(
    conn: Connection,
    project_id: int,
    name: str,
    task: Task,
    body: bytes,
    info: Mapping[str, Any],
) -> int:
    """Keeps a model as the name's next version, not promoted; returns the version, from 1.

    Raises ConflictError where the name is one of a model of another task.
    """
    where = {"project_id": project_id, "name": name}
    async with conn.transaction():
        await conn.execute(SQL["one_at_a_time"], where)
        other = await (await conn.execute(SQL["task"], where)).fetchone()
        if other is not None and other[0] != task:
            raise ConflictError(
                f"{name!r} is the name of a model of task {other[0]}. Give this one another"
            )
        values = {"task": task, "body": body, "info": Jsonb(dict(info))}
        return int((await only_row(conn, SQL["put"], where | values))[0])


async def list_models(
    conn: Connection, project_id: int, name: str | None = None
) -> list[ModelLine]:
    """The project's models, or the versions of one: by name, the newest version first."""
    async with conn.cursor(row_factory=class_row(ModelLine)) as cursor:
        await cursor.execute(SQL["list"], {"project_id": project_id, "name": name})
        return await cursor.fetchall()


async def show_model(
    conn: Connection, project_id: int, name: str, version: int | None = None
) -> ModelLine:
    """A version; without one the promoted, or where none is the newest. Raises NotFoundError."""
    lines = await list_models(conn, project_id, name)
    fitting = [one for one in lines if version is None or one.version == version]
    if not fitting:
        raise await _missing(conn, project_id, name, version)
    return max(fitting, key=lambda one: (one.promoted, one.version))


async def read_model(
    conn: Connection, project_id: int, name: str, version: int | None = None
) -> StoredModel:
    """A version with its body, chosen as by `show_model`. Raises NotFoundError."""
    where = {"project_id": project_id, "name": name, "version": version}
    row = await (await conn.execute(SQL["read"], where)).fetchone()
    if row is None:
        raise await _missing(conn, project_id, name, version)
    return StoredModel(*row)


async def promoted(conn: Connection, project_id: int, name: str) -> StoredModel | None:
    """The version that routes go by; None where none is promoted."""
    row = await (
        await conn.execute(SQL["promoted"], {"project_id": project_id, "name": name})
    ).fetchone()
    return None if row is None else StoredModel(*row)


async def promoted_id(conn: Connection, project_id: int, name: str) -> int | None:
    """The row of the promoted version, without reading its body: another row is another model."""
    row = await (
        await conn.execute(SQL["promoted_id"], {"project_id": project_id, "name": name})
    ).fetchone()
    return None if row is None else int(row[0])


async def body_of(conn: Connection, id_: int) -> bytes | None:
    """The bytes of the model of this row; None where it is gone."""
    row = await (await conn.execute(SQL["body_of"], {"id": id_})).fetchone()
    return None if row is None else bytes(row[0])


async def promoted_info(conn: Connection, project_id: int, name: str) -> dict[str, Any] | None:
    """What can be told of the promoted version; None where none is promoted."""
    row = await (
        await conn.execute(SQL["promoted_info"], {"project_id": project_id, "name": name})
    ).fetchone()
    return None if row is None else dict(row[0])


async def promote(conn: Connection, project_id: int, name: str, version: int) -> None:
    """From now on routes go by this version of the name. Raises NotFoundError."""
    where = {"project_id": project_id, "name": name, "version": version}
    async with conn.transaction():
        await conn.execute(SQL["one_at_a_time"], where)
        await conn.execute(SQL["demote"], where)
        if await (await conn.execute(SQL["promote"], where)).fetchone() is None:
            raise await _missing(conn, project_id, name, version)


async def _missing(
    conn: Connection, project_id: int, name: str, version: int | None
) -> NotFoundError:
    lines = await list_models(conn, project_id)
    versions = [str(one.version) for one in lines if one.name == name]
    if version is not None and versions:
        return NotFoundError(f"{name} has no version {version}. It has {', '.join(versions)}")
    known = ", ".join(dict.fromkeys(one.name for one in lines))
    there = f"There are: {known}" if known else "None is stored yet"
    return NotFoundError(
        f"There is no router model {name!r} in this project. {there}. "
        "`batchyard router train --name NAME` makes one"
    )
