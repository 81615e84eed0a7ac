"""Runs the demo: a yard of its own, one job through the public client, and what came of it."""

import asyncio
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import yaml

from batchyard.client import Job, submit
from batchyard.connection import open_context
from batchyard.demo import desk
from batchyard.demo.plan import (
    ALONE,
    BUDGET,
    LOCAL,
    ROUTER,
    Material,
    cloud_lines,
    configuration,
    load_material,
    local_lines,
)
from batchyard.demo.report import Desk, Facts, Places, Report, Sample, make_report
from batchyard.demo.show import Screen
from batchyard.embedded.binaries import postgres_bin
from batchyard.embedded.detached import stop
from batchyard.embedded.errors import MissingBinariesError
from batchyard.embedded.home import Home, YardRecord
from batchyard.embedded.model import model_weights
from batchyard.environment import settings_in_force
from batchyard.yard import Start, start_yard
from core.errors import BatchyardError, ConflictError, ServiceError
from core.status import JobStatus
from db.audit import AuditReport, audit
from db.projects import find_project

POLL_S = 0.5
PATIENCE_S = 300.0


def run_demo(around: Home, screen: Screen, *, keep: bool = False) -> Report:
    """The whole demo, in the folder `demo` of the home `around`.

    A yard that runs there already is used and left running; else one is started, and stopped
    at the end unless `keep`. Raises InputError where the messages are not there, EmbeddedError
    where the yard does not start, ServiceError where the job takes more than five minutes.
    """
    began = time.monotonic()
    material = load_material()
    missing = _why_no_model()
    home = Home(around.path / "demo")
    screen.opening(material, missing)
    with _environment(home):
        config = _write_configuration(home, local=not missing)
        found_running = home.running() is not None
        try:
            yard = start_yard(home, Start(config), while_waiting=screen.starting)
            screen.started(yard, time.monotonic() - began, found_running=found_running)
            report = _label(home, yard, material, screen, time.monotonic() - began)
            screen.report(report)
            report = _with_desk(report, material, screen)
        finally:
            if not keep and not found_running:
                screen.stopping()
                stop(home)
    screen.where_next(report, running=keep or found_running)
    return report


def _why_no_model() -> str:
    """Empty where the local model can run."""
    try:
        model_weights()
    except MissingBinariesError as error:
        return str(error)
    return ""


@contextmanager
def _environment(home: Home) -> Iterator[None]:
    """The demo's yard is the one that the client finds, and never the user's own servers where
    embedded ones are to be had."""
    before = dict(os.environ)
    os.environ["BATCHYARD_HOME"] = str(home.path)
    os.environ.pop("BATCHYARD_CONFIG", None)
    try:
        postgres_bin()
    except MissingBinariesError:
        pass
    else:
        os.environ.pop("BATCHYARD_DATABASE_URL", None)
        os.environ.pop("BATCHYARD_BROKER_URL", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _write_configuration(home: Home, *, local: bool) -> Path:
    home.create()
    path = home.path / "batchyard.yaml"
    text = yaml.safe_dump(configuration(local=local), sort_keys=False)
    path.write_text("# Written by `batchyard demo`.\n" + text, encoding="utf-8")
    return path


def _label(
    home: Home, yard: YardRecord, material: Material, screen: Screen, setup: float
) -> Report:
    """Submits, watches, and reads what came of it."""
    local = LOCAL in settings_in_force(home).deployments
    places = Places(
        home=str(home.path),
        lines_file=str(_write_lines(home, material, local=local)),
        results_file=str(home.path / "results.jsonl"),
        flower_url=yard.flower_url,
    )
    simulator = _simulator_url(yard)
    # Outages are counted from here.
    _fetch(f"{simulator}/reset", b"{}")
    job = submit(places.lines_file, budget=BUDGET, name="demo")
    try:
        samples = _watch(job, screen)
    except BaseException:
        with suppress(BatchyardError):
            job.cancel()
        raise
    with Path(places.results_file).open("wb") as file:
        file.writelines(job.export())
    view = job.status()
    facts = Facts(
        view=view,
        lines=job.results(),
        samples=samples,
        billed_usd=str(_fetch(f"{simulator}/stats")["billed_usd"]),
        violations=[one.detail for one in asyncio.run(_audit(view.id)).violations],
        setup_seconds=setup,
        missing="" if local else _why_no_model(),
    )
    return make_report(material, facts, places)


def _with_desk(report: Report, material: Material, screen: Screen) -> Report:
    """Runs the second part, and audits everything."""
    found = _route(material, screen)
    violations = [one.detail for one in asyncio.run(_audit()).violations]
    screen.desk(found, violations)
    return replace(report, desk=found, violations=violations)


def _route(material: Material, screen: Screen) -> Desk:
    """The messages of a desk by the router, and by the best cloud alone."""
    screen.desk_opening(len(desk.messages(material)), len(desk.strangers()))
    alone = submit(desk.lines(material, ALONE), budget=BUDGET, name=ALONE)
    screen.learned(desk.learn())
    routed = submit(desk.lines(material, ROUTER), budget=BUDGET, name=ROUTER)
    for job in (alone, routed):
        _watch(job, screen)
    return desk.seen(material, {ALONE: alone, ROUTER: routed})


def _write_lines(home: Home, material: Material, *, local: bool) -> Path:
    path = home.path / "messages.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for line in cloud_lines(material):
            file.write(json.dumps(line) + "\n")
        for line in local_lines(material) if local else ():
            file.write(json.dumps(line) + "\n")
    return path


def _watch(job: Job, screen: Screen) -> list[Sample]:
    """Until the job has ended; returns how the calls went up. Raises ServiceError."""
    samples: list[Sample] = []
    end = time.monotonic() + PATIENCE_S
    with screen.watching(job.id) as show:
        while True:
            view = job.status()
            calls = {share.deployment: share.attempts for share in view.shares}
            samples.append(Sample(view.read_at.timestamp(), calls))
            show(view)
            if JobStatus(view.status).terminal:
                return samples
            if time.monotonic() > end:
                raise ServiceError(
                    f"{job.id} is {view.status} after {PATIENCE_S:.0f} s ({view.why}). Run the "
                    "demo again with --keep, and look at it with `batchyard ps`"
                )
            time.sleep(POLL_S)


async def _audit(number: int | None = None) -> AuditReport:
    async with open_context() as ctx, ctx.pool.connection() as conn:
        return await audit(conn, await find_project(conn, "default"), number)


def _simulator_url(yard: YardRecord) -> str:
    service = yard.service("simulator")
    if service is None:
        raise ConflictError(
            "the yard in the demo's folder has no simulated clouds: stop it with "
            "`batchyard down`, or remove the folder"
        )
    return f"http://127.0.0.1:{service.port}"


def _fetch(url: str, body: bytes | None = None) -> dict[str, object]:
    with urllib.request.urlopen(url, body, timeout=10) as reply:  # noqa: S310
        return dict(json.load(reply))
