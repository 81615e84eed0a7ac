"""What a job that was just handed in may come to: said at submit, when it can still be mended."""

from dataclasses import dataclass, replace

import msgspec

from core.errors import NotFoundError
from db.projects import find_project
from db.requests import Handed, handed_in
from routing.targets import resolve_target
from tasks.context import Context

SAMPLE = 500


class _Asked(msgspec.Struct):
    """The fields of a body that say how long its answer may be."""

    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """`refused` lines failed at once, `pilot` requests are tried on every candidate first.

    Under a budget: `output` is the limit in tokens that requests without one of their own get
    (None where each of the sample has its own), and `bound_nusd` about what all cost at most, at
    the dearest of their candidates and without second attempts; None without a budget."""

    total: int
    refused: int
    pilot: int | None = None
    output: int | None = None
    bound_nusd: int | None = None


async def outlook(ctx: Context, project: str, job_id: int) -> Outlook:
    """From the first few hundred of its requests. Raises NotFoundError."""
    async with ctx.pool.connection() as conn:
        job = await handed_in(conn, await find_project(conn, project), job_id, SAMPLE)
    if job is None:
        raise NotFoundError(f"There is no job_{job_id} here. `batchyard jobs` lists them")
    told = Outlook(total=job.total, refused=job.refused, pilot=job.pilot)
    if job.limit_nusd is None or not job.sample:
        return told
    return _with_bound(ctx, job, told)


def _with_bound(ctx: Context, job: Handed, told: Outlook) -> Outlook:
    decode = msgspec.json.Decoder(_Asked).decode
    outputs: list[int] = []
    bound = 0
    for name, body in job.sample:
        target, asked = resolve_target(name, ctx.settings), decode(body)
        if target is None:
            continue
        own = asked.max_completion_tokens or asked.max_tokens
        if own is None:
            outputs.append(target.max_output)
        prices = [ctx.deployments[line].price for line in target.candidates]
        output = (own or target.max_output) * (asked.n or 1)
        size = len(body.encode())
        bound += max(price.cost(size, output) for price in prices if price is not None)
    return replace(
        told,
        output=max(outputs, default=None),
        bound_nusd=bound * (told.total - told.refused) // len(job.sample),
    )
