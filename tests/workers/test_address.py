"""Addresses of the broker and the limiter's server."""

import pytest

from core.errors import ConfigError
from workers.address import broker_address, keeps_limits, limiter_address, place_of


@pytest.mark.parametrize("url", ["redis://:pw@h:6379/0", "rediss://h/0", "amqp://u:p@h//"])
def test_brokers_are_redis_or_amqp(url: str) -> None:
    assert broker_address(url) == url
    assert keeps_limits(url) is not url.startswith("amqp")


@pytest.mark.parametrize("url", ["kafka://h", "hunter2@h", "redis://:hunter2@h:many/0"])
def test_others_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_BROKER_URL") as caught:
        broker_address(url)
    assert "hunter2" not in str(caught.value)


def test_limits_need_redis() -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_LIMITER_URL"):
        limiter_address("amqp://h//")


def test_a_place_is_told_without_its_password() -> None:
    assert place_of("redis://:hunter2@127.0.0.1:7/0") == "127.0.0.1:7"
