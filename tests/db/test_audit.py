"""The audit finds nothing in a true yard, and each corruption of one."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from batchyard.embedded.testing import RunningServices
from core.errors import NotFoundError
from core.work import GiveBack
from db.audit import LAWS, AuditReport, audit
from db.finish import end_job
from db.lifecycle import delete_family, drop_unheld, hold_family, stop_job
from db.linked import LinkedKind
from tests.db.kit import Kit, answered, connect, some_of_everything, some_steps, take_over

SCENE = "audit_scene"
numbers = itertools.count(1)


async def build(database_url: str) -> dict[str, int]:
    """Four jobs of one project that have seen everything: one done, with one linked to it, one
    running, two cancelled, of which one was a cascade; and the traces of a deleted one."""
    async with await connect(database_url) as conn:
        kit = await Kit.open(conn)
        jobs = {"stepped": await kit.job(40, limit=10**6)}
        await some_steps(kit)
        await stop_job(conn, jobs["stepped"])
        await drop_unheld(conn, jobs["stepped"])
        assert await end_job(conn, jobs["stepped"]) == "cancelled"
        for name in ("gone", "stopped", "done", "running"):
            kit, other = await Kit.open(conn), await Kit.open(conn)
            jobs[name] = await kit.job(40, limit=10**6)
            flying = await some_of_everything(kit, other)
            if name == "stopped":
                await stop_job(conn, jobs[name])
                await drop_unheld(conn, jobs[name])
            if name != "running":
                await other.commit(map(answered, flying), back=[GiveBack(flying[0].chunk)])
                await other.run(jobs[name])
            if name in ("gone", "done"):
                jobs[f"linked to {name}"] = linked = await other.linked(
                    jobs[name], 12, LinkedKind.CLARIFIED
                )
                await other.run(linked)
        async with conn.transaction():
            await delete_family(conn, await hold_family(conn, 1, jobs["gone"]))
        jobs["linked"] = jobs.pop("linked to done")
        return jobs


@pytest.fixture(scope="module")
def scene(services: RunningServices, template: str) -> Iterator[dict[str, int]]:
    with psycopg.connect(services.database_url, autocommit=True) as conn:
        names = {"scene": sql.Identifier(SCENE), "template": sql.Identifier(template)}
        conn.execute(sql.SQL("create database {scene} template {template}").format(**names))
        yield asyncio.run(build(at(services, SCENE)))
        conn.execute(sql.SQL("drop database {scene} with (force)").format(**names))


@pytest.fixture
def copy(services: RunningServices, scene: dict[str, int]) -> Iterator[str]:
    """A database of one's own with the scene in it."""
    name = f"audit_{next(numbers)}"
    with psycopg.connect(services.database_url, autocommit=True) as conn:
        names = {"name": sql.Identifier(name), "scene": sql.Identifier(SCENE)}
        make = "create database {name} template {scene} strategy file_copy"
        conn.execute(sql.SQL(make).format(**names))
        yield at(services, name)
        conn.execute(sql.SQL("drop database {name} with (force)").format(**names))


def at(services: RunningServices, name: str) -> str:
    return services.database_url.rpartition("/")[0] + "/" + name


def report(database_url: str, job_id: int | None = None) -> AuditReport:
    async def ask() -> AuditReport:
        async with await connect(database_url) as conn:
            return await audit(conn, 1, job_id)

    return asyncio.run(ask())


def test_a_true_yard_is_clean_and_its_facts_are_told(copy: str, scene: dict[str, int]) -> None:
    whole = report(copy)
    assert whole.violations == ()
    assert whole.ok
    assert whole.jobs == 5
    assert whole.facts["requests"] == 172
    assert whole.facts["late"] == 3
    assert whole.facts["unknown"] == 4 * 3
    assert whole.facts["unknown_nusd"] == whole.facts["unknown"] * 1000
    assert whole.facts["cancelled"] > 0
    assert whole.facts["open"] > 0
    done = report(copy, scene["done"])
    assert done.ok
    assert done.facts["completed"] + done.facts["failed"] == done.facts["requests"] == 52
    assert done.facts["reserved_nusd"] == 0
    assert done == report(copy, scene["linked"]), "they share an account"
    assert report(copy, scene["running"]).facts["reserved_nusd"] == 3000


def test_an_unknown_job_is_not_there(copy: str) -> None:
    with pytest.raises(NotFoundError, match="job_99"):
        report(copy, 99)


ROWS = {
    "account": "(select account_id from jobs where id = %(done)s)",
    "project": "(select project_account_id from jobs where id = %(done)s)",
    "commit": (
        "(select min(commit_id) from ledger where kind = 'settle' and amount_nusd > 0"
        " and account_id = (select account_id from jobs where id = %(done)s))"
    ),
    "ready": (
        "(select min(id) from chunks where job_id = %(running)s and status = 'ready' and size > 2)"
    ),
    "leased": "(select min(id) from chunks where job_id = %(running)s and status = 'leased')",
    "answered": (
        "(select min(seq) from results where job_id = %(running)s and status = 'completed')"
    ),
    "twice": "(select min(seq) from attempts where job_id = %(done)s and n = 2 and status = 'ok')",
}


def read_mutations() -> dict[str, tuple[str, str]]:
    """Law and statements of each corruption."""
    text = Path(__file__).with_name("mutations.sql").read_text(encoding="utf-8")
    found = {}
    for block in text.split("\n\n")[1:]:
        head, _, body = block.partition("\n")
        law, _, name = head.removeprefix("-- ").partition(": ")
        found[name] = (law, body.strip().rstrip(";").format(**ROWS))
    return found


MUTATIONS = read_mutations()


def corrupted(database_url: str, name: str, jobs: dict[str, int]) -> AuditReport:
    """What the audit says after the corruption, of which nothing stays."""

    async def ask() -> AuditReport:
        async with await connect(database_url) as conn:
            await conn.execute("begin isolation level repeatable read")
            for statement in MUTATIONS[name][1].split(";"):
                changed = (await conn.execute(statement.encode(), jobs)).rowcount
                assert changed != 0, f"changed nothing: {statement}"
            found = await audit(conn, 1)
            await conn.rollback()
            return found

    return asyncio.run(ask())


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_corruption_is_found(
    services: RunningServices, scene: dict[str, int], name: str
) -> None:
    found = corrupted(at(services, SCENE), name, scene)
    law = MUTATIONS[name][0]
    assert not found.ok
    named = {violation.law: violation for violation in found.violations}
    assert law in named, f"found only {sorted(named)}"
    assert named[law].sample
    assert named[law].detail.startswith(LAWS[law])


def test_every_law_has_its_corruption() -> None:
    assert {law for law, _ in MUTATIONS.values()} == set(LAWS)


def test_a_violation_names_its_job_and_the_rows(
    services: RunningServices, scene: dict[str, int]
) -> None:
    found = corrupted(at(services, SCENE), "drop a result", scene)
    assert {violation.job_id for violation in found.violations} == {scene["done"]}
    [lost] = [one for one in found.violations if one.law == "job_incomplete"]
    assert "request 0 " in lost.sample[0]


def test_it_sees_one_moment_and_changes_nothing(copy: str) -> None:
    async def both() -> Any:
        async with await connect(copy) as conn, await connect(copy) as other:
            before = await audit(conn, 1)
            kit = await Kit.open(other)
            async with other.transaction():
                [chunk, *_] = await kit.claim()
                await kit.intend(chunk, 1)
                during = await audit(conn, 1)
            return before, during, await audit(conn, 1)

    before, during, after = asyncio.run(both())
    assert before == during
    assert after.ok
    assert after.facts["reserved_nusd"] == before.facts["reserved_nusd"] + 1000


def test_the_end_of_a_job_leaves_nothing_open(copy: str, scene: dict[str, int]) -> None:
    async def go_on() -> AuditReport:
        async with await connect(copy) as conn:
            kit = await Kit.open(conn)
            await conn.execute(
                b"update processes set lease_until = now() where id <> %s", (kit.owner,)
            )
            await take_over(kit, dead=0)
            await kit.run(scene["running"])
            assert await end_job(conn, scene["running"]) is None
            return await kit.clean()

    facts = asyncio.run(go_on()).facts
    assert facts["open"] == facts["reserved_nusd"] == 0
