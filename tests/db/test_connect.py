"""Connections: what becomes of them when the server goes without a word."""

import asyncio
import os
import socket

import pytest

from db.connect import open_pool

IDLE, DEAF = socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT


@pytest.mark.parametrize(
    ("address", "idle_s", "deaf_ms"), [("", 10, 25_000), ("?keepalives_idle=70", 70, 25_000)]
)
def test_a_server_that_vanished_is_noticed_within_half_a_minute(
    database_url: str, address: str, idle_s: int, deaf_ms: int
) -> None:
    async def patience() -> tuple[int, int]:
        async with open_pool(database_url + address) as pool, pool.connection() as conn:
            with socket.socket(fileno=os.dup(conn.fileno())) as line:
                options = (line.getsockopt(socket.IPPROTO_TCP, name) for name in (IDLE, DEAF))
                return next(options), next(options)

    assert asyncio.run(patience()) == (idle_s, deaf_ms)
