"""Jobs with a pilot, whose answers are written by hand."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from core.money import Price
from core.pilot import PilotOptions
from core.settings import Settings
from db.finish import end_job
from db.pilot import due_pilots
from tasks.context import Context
from tasks.pilot import pilot
from tasks.route import route
from tasks.submit import SubmitOptions, submit
from tests.conftest import DEPLOYMENTS, deployment
from tests.routing.judged import judged

LINES = judged(400, seed=1)
LARGE = deployment("large", "my-70b", Price(Decimal(10), Decimal(20)))
YARD = {"small": DEPLOYMENTS["small"], "large": LARGE}
CONFIG = Settings.model_validate(
    {
        "providers": {"lab": {"base_url": "http://127.0.0.1:1/v1"}},
        "deployments": {name: {"provider": "lab", "model": name} for name in YARD},
        "routes": {
            "smart": {
                "candidates": ["small", "large"],
                "choose": "threshold",
                "router": {"model": "tickets", "quality": 0.9},
                "max_output": 100,
            }
        },
    }
)
PROMPTS = [
    {"prompt": prompt, "metadata": {**tags, "label": "a"}}
    for prompt, tags in zip(LINES.prompts, LINES.metadata, strict=True)
]
OPTIONS = PilotOptions(100, "label")


def within(inn: Any, work: Any) -> Any:
    return inn.run(lambda ctx: work(replace(ctx, settings=CONFIG, deployments=YARD)))


def start(inn: Any, options: PilotOptions = OPTIONS, **more: Any) -> int:
    """A job with a pilot."""

    async def work(ctx: Context) -> int:
        asked = SubmitOptions(route="smart", pilot=options, gold=options.gold, **more)
        return await submit(ctx, PROMPTS, asked)

    return int(within(inn, work))


def pilot_of(inn: Any, job_id: int) -> int:
    [(found,)] = inn.rows("select id from jobs where parent_id = %s and kind = 'pilot'", job_id)
    return int(found)


def run_pilot(inn: Any, job_id: int, *, scored: bool = True) -> None:
    """The pilot's requests are answered, and worth what was judged of them."""
    found = pilot_of(inn, job_id)
    part = inn.part(job_id)
    for seq, row, target in inn.rows(
        "select seq, row, target from requests where job_id = %s", found
    ):
        key = {"part": part, "job_id": found, "seq": seq, "round": 1}
        body = json.dumps({"choices": [{"message": {"content": f"{target} says"}}]})
        inn.put("results", **key, status="completed", deployment=target, body=body, commit_id=0)
        call = {"n": 1, "deployment": target, "status": "ok", "bound_nusd": 9000, "latency_ms": 1}
        cost = 9000 if target == "large" else 900
        inn.put("attempts", **key, **call, cost_nusd=cost, commit_id=1)
        if scored:
            value = LINES.quality[row - 1, LINES.candidates.index(target)]
            inn.put("scores", **key, scorer="exact", value=float(value))

    async def work(ctx: Context) -> None:
        async with ctx.pool.connection() as conn:
            await conn.execute("update chunks set status = 'done' where job_id = %s", (found,))
            assert await end_job(conn, found) is not None
            assert await due_pilots(conn) == [], "its answers are not scored yet"
            await conn.execute("update scorings set done = true where job_id = %s", (found,))
            assert await due_pilots(conn) == [job_id]
        await pilot(ctx, job_id)
        await route(ctx, job_id)

    within(inn, work)
