"""What the processes of `workers/app.py` serve under `/metrics`."""

import os

from core.settings import Settings
from db.totals import Totals, totals
from tasks.yard import Yard
from workers import environment
from workers.telemetry.endpoint import address, new_registry, serve
from workers.telemetry.limit_series import LimitSeries
from workers.telemetry.router_series import RouterSeries
from workers.telemetry.series import ProcessSeries
from workers.telemetry.yard_series import YardSeries
from workers.wiring import Process


def watch_worker(process: Process, *, controls: bool) -> None:
    """A worker's own numbers; with `controls` the whole yard's too. Raises ConfigError."""
    deployments = environment.deployments()
    own = ProcessSeries(process.meters, deployments, lambda: _holds(process))
    if controls:
        yard = YardSeries(lambda: process.ask(_totals), deployments)
        router = RouterSeries(process.meters.router, environment.settings(), deployments)
        series = new_registry("control", own, yard, router)
    else:
        # From zero, so that a first call is seen as an increase.
        for name in deployments:
            process.meters.of(name)
        series = new_registry("call", own, LimitSeries(lambda: process.yard, deployments))
    serve(series, address(os.environ, _host(environment.settings())))


def watch_beat(process: Process) -> None:
    """The clock's bells. Raises ConfigError."""
    series = new_registry("beat", ProcessSeries(process.meters, {}, dict))
    serve(series, address(os.environ, _host(environment.settings())))


def _host(settings: Settings) -> str:
    return settings.yard.metrics.host


async def _totals(yard: Yard) -> Totals | None:
    async with yard.context.pool.connection() as conn:
        return await totals(conn, yard.process_id)


def _holds(process: Process) -> dict[str, float]:
    yard = process.yard
    if yard is None:
        return {}
    return {
        "batchyard_lanes": len(yard.tickets),
        "batchyard_held_chunks": len(yard.held),
        "batchyard_writer_queue": yard.writer.queue,
    }
