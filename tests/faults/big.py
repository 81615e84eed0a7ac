"""The faults at full size, with figures: python -m tests.faults.big [faults|kills|budget|providers]

`faults`: 20,000 requests with 10 % 429 and 2 % resets. `kills`: kill -9 of each part of a yard
with its usual leases, in the middle of a job. `budget`: 200 rounds of 64 lanes on one budget.
`providers`: 20,000 requests over five providers, of which one is dead for a minute, one throttles
for ever, one answers nonsense to 5 % and one lets 1 % hang, all at once.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchyard.embedded.testing import start_services
from core.settings import YardSettings
from db.migrate import migrate
from tests.faults.budget import LANES as BUDGET_LANES
from tests.faults.budget import play
from tests.faults.providers import Dying, all_at_once, play_all_at_once
from tests.faults.rig import CALM, IN_FLIGHT, LANES, WINDOW, Rig, check_whole, running_yard

USUAL = {"workers": 2, "lanes": LANES}
LEASE = YardSettings().lease
VICTIMS = (
    ("worker-call-1",),
    ("worker-call-1", "worker-call-2"),
    ("worker-control",),
    ("beat",),
    ("valkey",),
    ("postgres",),
    ("supervisor",),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["faults", "kills", "budget", "providers"])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--away", type=float, default=60.0, help="seconds a provider is dead")
    chosen = parser.parse_args()
    if "faults" in chosen.parts:
        faults(chosen.requests)
    if "kills" in chosen.parts:
        kills(chosen.requests // 5)
    if "budget" in chosen.parts:
        budget(chosen.rounds)
    if "providers" in chosen.parts:
        providers(chosen.requests, chosen.away)


@contextmanager
def yard() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as folder, running_yard(Path(folder), USUAL) as rig:
        yield rig


def faults(total: int) -> None:
    with yard() as rig:
        rig.simulate(**CALM)
        rig.simulate(faults={"p_429": 0.1, "p_reset": 0.02, "retry_after_ms": 20})
        start = time.monotonic()
        job = rig.submit(total)
        status = rig.wait_end(job)
        took = time.monotonic() - start
        calls = check_whole(rig, job, total)
        assert calls is not None
        seen = rig.stats()
        print(f"{total} requests, 10 % 429 and 2 % resets: {status} in {took:.1f} s")
        print(f"  one result each, audit ok, attempts {dict(calls.attempts)}")
        print(
            f"  the simulator: {seen['calls']} calls ({seen['status']}), "
            f"{seen['billed_calls']} billed, faults {seen['faults']}"
        )
        print(f"  unexplained calls: {len(calls.problems)}, attempts unseen: {calls.unseen}")


def kills(total: int) -> None:
    print(f"kill -9 in the middle of a job of {total}; two leases are {2 * LEASE:.0f} s")
    for victims in VICTIMS:
        with yard() as rig:
            rig.simulate(**CALM)
            _kill(rig, total, victims)


def _kill(rig: Rig, total: int, victims: tuple[str, ...]) -> None:
    job = rig.submit(total)
    rig.wait_results(job, total // 10)
    start, done = time.monotonic(), rig.results(job)
    rig.wait_results(job, total // 4)
    rate = (rig.results(job) - done) / (time.monotonic() - start)
    left = total - rig.results(job)
    killed = time.monotonic()
    rig.kill(*victims)
    alive = "supervisor" not in victims
    if not alive:
        rig.wait_gone()
        rig.up()
    rig.wait_end(job)
    took = time.monotonic() - killed
    check_whole(rig, job, total, simulated=alive)
    ((doubt,),) = rig.sql(
        "select count(*) from attempts where job_id = %(job)s and status in ('unknown', 'late')",
        job=job,
    )
    print(
        f"  {' and '.join(victims):31} ended {took:5.1f} s after the kill, own work "
        f"{left / rate:4.1f} s; {doubt:3} in doubt of at most {IN_FLIGHT + LANES * WINDOW}",
        flush=True,
    )


def budget(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, start_services(folder) as services:
        migrate(services.database_url)
        start = time.monotonic()
        played = asyncio.run(play(services.database_url, rounds))
        took = time.monotonic() - start
    assert all(one.status == "budget_exhausted" and one.reserved == 0 for one in played)
    print(
        f"{rounds} rounds of {BUDGET_LANES} lanes on a budget of 200 bounds in {took:.0f} s: "
        f"overshoot {max(one.overshoot for one in played)} nano-dollars, use "
        f"{min(one.use for one in played):.2%} at least, "
        f"{sum(one.use for one in played) / rounds:.2%} on average; audit ok"
    )


def providers(total: int, away: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dying = Dying(folder)
        dying.live()
        try:
            with running_yard(folder, USUAL, all_at_once(dying.port)) as rig:
                play_all_at_once(rig, dying, total, away)
        finally:
            dying.die()


if __name__ == "__main__":
    main()
