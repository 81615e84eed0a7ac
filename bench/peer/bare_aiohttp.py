"""The floor: one aiohttp session, a fixed number of loops, answers kept in a file."""

import asyncio
import json
from collections import deque

import aiohttp
import uvloop
from given import KEY, MODEL, given


async def main() -> None:
    todo = given()
    left = deque(todo.bodies)
    headers = {"authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(limit=todo.at_once)
    with todo.output.open("w", encoding="utf-8") as file:
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def work() -> None:
                while left:
                    body = {"model": MODEL, **left.popleft()}
                    async with session.post(f"{todo.base_url}/chat/completions", json=body) as got:
                        file.write(json.dumps(await got.json()) + "\n")

            await asyncio.gather(*(work() for _ in range(todo.at_once)))


uvloop.run(main())
