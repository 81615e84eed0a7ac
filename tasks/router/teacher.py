"""Learning in a process of its own: it takes seconds of pure arithmetic, and the steps of all other
jobs run in the threads of this one.

The child (`tasks/router/taught.py`) reads one frame of JSON and writes one; it gets no key, asks
nobody, and is gone with its parent's pipe.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from core.errors import InputError
from core.money import Price
from core.pilot import Learned
from db.pilot import Answer
from tasks.child import child_environment

CHILD: Final = "tasks.router.taught"


class Lessons(msgspec.Struct, frozen=True):
    """What there is to learn from: as `tasks/router/learning.py` takes it."""

    given: Sequence[Answer]
    prices: Mapping[str, Price | None]
    gold: str
    known: bytes | None


class Outcome(msgspec.Struct, frozen=True):
    """What was learned, or why nothing could be."""

    learned: Learned | None = None
    why: str = ""


async def learn(lessons: Lessons) -> Learned:
    """A model of the answers. Raises InputError where there is too little to learn from, and
    RuntimeError where the child dies, whose words stand in the log."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        told, _ = await child.communicate(msgspec.json.encode(lessons))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise RuntimeError(f"{CHILD} ended with {child.returncode}")
    outcome = msgspec.json.decode(told, type=Outcome)
    if outcome.learned is None:
        raise InputError(outcome.why)
    return outcome.learned
