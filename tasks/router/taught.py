"""The process that learns for a control worker: lessons on its input, a model on its output."""

import os
import sys

import msgspec

from core.errors import InputError
from tasks.router.learning import learn
from tasks.router.teacher import Lessons, Outcome

POLITE = 5
"""How far it stands back for the yard's other processes, as `nice` counts."""


def main() -> None:
    """One model, and the end."""
    os.nice(POLITE)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Lessons)
    try:
        outcome = Outcome(learn(asked.given, asked.prices, asked.gold, asked.known))
    except InputError as error:
        outcome = Outcome(why=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
