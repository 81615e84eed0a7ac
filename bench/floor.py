"""The floor: the same calls over the same transport from a bare loop, nothing kept.

`in_flight` coroutines take the next body each; CPU is the process', native threads included.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from core.deployment import Deployment
from providers.adapters import adapter_for
from providers.transport import make_transport


@dataclass(frozen=True, slots=True)
class Floor:
    """What it took: CPU milliseconds a call, and calls a second."""

    cpu_ms: float
    rate: float


def measure_floor(deployment: Deployment, bodies: list[bytes], in_flight: int) -> Floor:
    """Sends every body once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(deployment, bodies, in_flight))


async def _measure(deployment: Deployment, bodies: list[bytes], in_flight: int) -> Floor:
    transport = make_transport("direct", max_connections=2 * in_flight)
    adapter = adapter_for(deployment.kind)
    numbered = enumerate(bodies)
    # The simulator draws a call's fate from its id.
    run = f"floor-{os.getpid()}-{time.monotonic_ns()}"

    async def work(todo: Iterator[tuple[int, bytes]]) -> None:
        for number, body in todo:
            name = f"{run}-{number}"
            call = adapter.build(deployment, None, body, max_output=64, request_id=name)
            answer = await transport.send(call)
            adapter.parse(answer.status, answer.headers, answer.body)

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work(numbered))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    await transport.close()
    return Floor(cpu * 1000 / len(bodies), len(bodies) / wall)
