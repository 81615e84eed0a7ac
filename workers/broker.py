"""What travels over the broker: the queues, Celery's settings, and the bell.

A message is a ticket: the name of a step and ids, never a prompt, a key or a decision. Lost
tickets cost latency and doubled ones find nothing to do, so Celery's own retries, ETAs,
rate limits, priorities and result backend are not used.
"""

import asyncio
from collections.abc import Iterable
from typing import TextIO

import structlog
from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.transport import redis, virtual

log = structlog.get_logger()

STEP_QUEUES = ("route", "dispatch", "score", "ops")
QUEUE_OF = {"plan": "route", "finish": "ops", "sweep": "ops", "unrung": "ops", "pilot": "score"}

# Redis delivers a ticket again when it was held for longer than this. It must outlast a slice
# and the longest call; it is not how lost work is found (that is the sweep's part).
VISIBILITY_TIMEOUT = 3600.0


class QoS(redis.QoS):
    """Survives the end of its connection.

    A lane outlives a lost connection and acknowledges its ticket at its end. Kombu 5.7 then
    reaches for the connection that is gone, and the whole worker stops. Such a ticket needs
    no acknowledgement: when it turns up again it finds its row gone.
    """

    @property
    def _cut_off(self) -> bool:
        transport = self.channel.connection
        return transport is None or transport.client is None

    def ack(self, delivery_tag: str) -> None:
        if self._cut_off:
            virtual.QoS.ack(self, delivery_tag)
        else:
            redis.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self._cut_off:
            virtual.QoS.ack(self, delivery_tag)
        else:
            redis.QoS.reject(self, delivery_tag, requeue)

    def restore_unacked_once(self, stderr: TextIO | None = None) -> None:
        if not self._cut_off:
            redis.QoS.restore_unacked_once(self, stderr)


def queue_of(step: str) -> str:
    """The queue of a step that no provider owns."""
    return QUEUE_OF.get(step, step)


def provider_queue(provider: str) -> str:
    """The queue of a provider's lanes."""
    return f"provider.{provider}"


def make_app(broker_url: str, providers: Iterable[str]) -> Celery:
    """A Celery app with the yard's queues and settings and no tasks."""
    redis.Channel.QoS = QoS
    names = [*STEP_QUEUES, *(provider_queue(name) for name in providers)]
    app = Celery("batchyard", broker=broker_url)
    app.conf.update(
        task_queues=[Queue(name, routing_key=name) for name in names],
        task_default_queue="ops",
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # Received, started and ended are told by the workers; the clock's ticks need not be.
        task_send_sent_event=False,
        worker_pool="threads",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(broker_url),
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5},
        event_queue_expires=60,
        event_queue_ttl=10,
    )
    return app


def _transport_options(broker_url: str) -> dict[str, float | bool]:
    if broker_url.startswith("amqp"):
        return {"confirm_publish": True}
    return {"visibility_timeout": VISIBILITY_TIMEOUT, "socket_connect_timeout": 5.0}


class CeleryPublisher:
    """Implements `core.ports.Publisher`; a bell that cannot be rung is only a delay."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def publish(self, step: str, *args: int | str, queue: str | None = None) -> None:
        """Sends the step's task. When the broker is away the sweep rings again later."""
        try:
            await asyncio.to_thread(
                self._app.send_task, step, args=args, queue=queue or queue_of(step)
            )
        except OperationalError as error:
            log.warning("bell not rung", step=step, reason=type(error).__name__)

    def close(self) -> None:
        """Ends the app's connections."""
        self._app.close()
