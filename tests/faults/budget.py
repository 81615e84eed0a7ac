"""Many lanes on one small budget, round after round."""

from dataclasses import dataclass
from random import Random

from core.ports import HttpReply
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


def liar() -> Provider:
    """A provider of which every other bill is above the bound: by a little, or absurdly."""
    random = Random(12)
    absurd = (MOST_OUTPUT + 1, 50 * MOST_OUTPUT, 2_000_000_000, 2**31 - 1, 2**70, -5)

    def answer(_: int) -> HttpReply:
        honest = random.randint(MOST_OUTPUT // 5, MOST_OUTPUT)
        return completion(random.choice((honest, random.choice(absurd))))

    return Provider(answer)


async def play(database_url: str, rounds: int, provider: Provider) -> list[Round]:
    """Rounds of `LANES` lanes, each on a new job with far more requests than it can pay."""
    async with open_lanes(database_url, provider, Permits(), workers=WORKERS, claim=CHUNK) as lanes:
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
