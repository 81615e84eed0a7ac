"""The Celery app of the workers: which task runs which step, and beat's clock.

    eval "$(batchyard env)"       # where the yard's services are, if they are of this machine
    celery -A workers.app worker -P threads -Q route,dispatch,score,ops
    celery -A workers.app worker -P threads -c 16 -Q provider.lab
    celery -A workers.app beat

Each task hands its step to the process' one event loop and returns the line that Flower
shows. Steps that call models run only where a provider's queue is consumed.
"""

import logging
import os
import sys
from typing import Any

import structlog
from celery import Celery, signals
from celery.concurrency.thread import TaskPool

from core.errors import BatchyardError
from core.one_thread import keep_to_one_thread
from providers.secrets import key_names
from tasks.dispatch import dispatch as dispatch_step
from tasks.finish import finish as finish_step
from tasks.lane import run_slice
from tasks.pilot import pilot as pilot_step
from tasks.plan import plan as plan_step
from tasks.route import route as route_step
from tasks.score import score as score_step
from tasks.sweep import sweep as sweep_step
from tasks.unrung import unrung as unrung_step
from workers.broker import CeleryPublisher, make_app
from workers.environment import broker_url, settings
from workers.logs import configure, know
from workers.signs import CLOCK_RUNS, SIGNS
from workers.telemetry.watching import watch_beat, watch_worker
from workers.wiring import Process


def sweep_interval(lease: float) -> float:
    """Seconds between sweeps: dead owners are found well within a lease of its end."""
    return min(5.0, max(1.0, lease / 4))


def _made() -> Celery:
    try:
        return make_app(broker_url(), settings().providers)
    except BatchyardError as error:
        # Celery would tell it as a traceback of twenty lines.
        sys.exit(f"error: {error}")


keep_to_one_thread(os.environ)  # no step has needed the libraries yet
app = _made()
app.conf.beat_schedule = {
    "dispatch": {
        "task": "dispatch",
        "schedule": 1.0,
        "options": {"queue": "dispatch", "expires": 3},
    },
    "unrung": {
        "task": "unrung",
        "schedule": 1.0,
        "options": {"queue": "ops", "expires": 3},
    },
    "sweep": {
        "task": "sweep",
        "schedule": sweep_interval(settings().yard.lease),
        "options": {"queue": "ops", "expires": 10},
    },
}
app.conf.beat_max_loop_interval = 1

process = Process(CeleryPublisher(app))


@app.task(name="route")
def route(job_id: int) -> str:
    """The route step of a job."""
    return process.run("route", lambda yard: route_step(yard.context, job_id), job=job_id)


@app.task(name="plan")
def plan(job_id: int) -> str:
    """One wave of a job that is planned as a whole."""
    return process.run("plan", lambda yard: plan_step(yard.context, job_id), job=job_id)


# Rung every second: their events would push all others out of Flower.
@app.task(name="dispatch", send_events=False)
def dispatch() -> str:
    """The dispatch step of the whole yard."""
    return process.run("dispatch", lambda yard: dispatch_step(yard.context))


@app.task(name="unrung", send_events=False)
def unrung() -> str:
    """The bell for jobs that nobody rang for."""
    return process.run("unrung", lambda yard: unrung_step(yard.context))


@app.task(name="call")
def call(provider: str, ticket: int) -> str:
    """One slice of a provider's work."""
    return process.run(
        "call", lambda yard: run_slice(yard, provider, ticket), provider=provider, ticket=ticket
    )


@app.task(name="finish")
def finish(job_id: int) -> str:
    """The end of a job, if it is over."""
    return process.run("finish", lambda yard: finish_step(yard.context, job_id), job=job_id)


@app.task(name="pilot")
def pilot(job_id: int) -> str:
    """What a job's pilot teaches."""
    return process.run("pilot", lambda yard: pilot_step(yard.context, job_id), job=job_id)


@app.task(name="score")
def score(job_id: int) -> str:
    """The score step of a job."""
    return process.run("score", lambda yard: score_step(yard.context, job_id), job=job_id)


@app.task(name="sweep", send_events=False)
def sweep() -> str:
    """One round of looking for what was lost."""
    return process.run("sweep", sweep_step)


@signals.setup_logging.connect
def _log(loglevel: int, **_: object) -> None:
    configure(level=logging.getLevelName(loglevel), secrets=key_names(settings()))


@signals.celeryd_init.connect
def _only_our_queues(options: dict[str, Any], **_: object) -> None:
    known = app.conf.task_queues
    asked = options.get("queues") or ()
    names = asked.split(",") if isinstance(asked, str) else asked
    strangers = [name for name in names if name not in {queue.name for queue in known}]
    if strangers:
        sys.exit(
            f"error: this yard has no queue {' or '.join(strangers)}. Its queues: "
            f"{', '.join(queue.name for queue in known)}"
        )


@signals.celeryd_after_setup.connect
def _only_threads(instance: Any, **_: object) -> None:
    if instance.pool_cls is not TaskPool:
        sys.exit(
            "error: a worker of this yard runs its tickets in threads, around one event loop. "
            "Start it with -P threads, or without -P"
        )


@signals.worker_ready.connect
def _open(sender: Any, **_: object) -> None:
    controls = "dispatch" in sender.app.amqp.queues.consume_from
    know(worker=str(sender.hostname))
    process.start(str(sender.hostname), controls=controls)
    watch_worker(process, controls=controls)


@signals.beat_init.connect
def _tick(**_: object) -> None:
    watch_beat(process)
    know(worker="beat")
    structlog.get_logger(SIGNS).info(CLOCK_RUNS)


@signals.before_task_publish.connect
def _count_bell(sender: str, **_: object) -> None:
    process.meters.rang(sender)


@signals.worker_shutting_down.connect
def _stop_claiming(**_: object) -> None:
    process.stop_claiming()


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    process.close()
