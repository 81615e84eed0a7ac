"""What the broker is asked for fits what the settings allow."""

from core.provider import ProviderSettings
from core.settings import YardSettings
from workers.broker import VISIBILITY_TIMEOUT

# https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
RABBITMQ_ACKNOWLEDGEMENT_TIMEOUT = 1800.0


def most(model: type, name: str) -> float:
    [limit] = [one.le for one in model.model_fields[name].metadata if hasattr(one, "le")]
    return float(limit)


def test_no_ticket_is_held_for_so_long_that_the_broker_gives_it_away_again() -> None:
    longest = most(YardSettings, "slice") + most(ProviderSettings, "timeout")
    assert longest < min(VISIBILITY_TIMEOUT, RABBITMQ_ACKNOWLEDGEMENT_TIMEOUT)
