"""LiteLLM's Router with three deployments and their limits, behind a semaphore."""

import asyncio

from given import KEY, MODEL, given
from litellm import Router


async def main() -> None:
    todo = given()
    models = (MODEL, "medium", "large")
    router = Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": todo.base_url,
                    "api_key": KEY,
                    "rpm": 6_000_000,
                    "tpm": 6_000_000_000,
                },
            }
            for name in models
        ],
        fallbacks=[{MODEL: list(models[1:])}],
        num_retries=3,
    )
    room = asyncio.Semaphore(todo.at_once)
    with todo.output.open("w", encoding="utf-8") as file:

        async def ask(body: dict) -> None:
            async with room:
                answer = await router.acompletion(model=MODEL, **body)
            file.write(answer.model_dump_json() + "\n")

        await asyncio.gather(*(ask(body) for body in todo.bodies))


asyncio.run(main())
