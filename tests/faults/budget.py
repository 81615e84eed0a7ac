"""Many lanes on one small budget, round after round."""

from dataclasses import dataclass
from random import Random

from tests.faults.lanes import BOUND, MOST_OUTPUT, Lanes, Permits, Provider, completion, open_lanes

LANES = 64
WORKERS = 4
CHUNK = 20
BUDGET = 200 * BOUND


@dataclass(frozen=True, slots=True)
class Round:
    """How a job on a small budget ended. `use` is the share of the budget that was spent."""

    status: str
    overshoot: int
    use: float
    reserved: int
    results: int


def spender() -> Provider:
    """A provider whose bills vary between a fifth of the bound and all of it."""
    random = Random(11)
    return Provider(lambda _: completion(random.randint(MOST_OUTPUT // 5, MOST_OUTPUT)))


async def play(database_url: str, rounds: int) -> list[Round]:
    """Rounds of `LANES` lanes, each on a new job with far more requests than it can pay."""
    async with open_lanes(
        database_url, spender(), Permits(), workers=WORKERS, claim=CHUNK
    ) as lanes:
        played = [await _play(lanes) for _ in range(rounds)]
        report = await lanes.audit()
        assert report.violations == ()
        return played


async def _play(lanes: Lanes) -> Round:
    job = await lanes.kit.job(LANES * CHUNK, limit=BUDGET, size=CHUNK, bound=BOUND)
    status = await lanes.finish(job, lanes=LANES)
    spent, reserved, limit = await lanes.account(job)
    assert limit == BUDGET
    results = await lanes.results(job)
    assert set(results) == {"completed"}
    return Round(status, max(0, spent - limit), spent / limit, reserved, len(results["completed"]))
