"""AsyncOpenAI behind a semaphore, as most people's scripts have it."""

import asyncio

from given import KEY, MODEL, given
from openai import AsyncOpenAI


async def main() -> None:
    todo = given()
    client = AsyncOpenAI(base_url=todo.base_url, api_key=KEY)
    room = asyncio.Semaphore(todo.at_once)
    with todo.output.open("w", encoding="utf-8") as file:

        async def ask(body: dict) -> None:
            async with room:
                answer = await client.chat.completions.create(model=MODEL, **body)
            file.write(answer.model_dump_json() + "\n")

        await asyncio.gather(*(ask(body) for body in todo.bodies))


asyncio.run(main())
