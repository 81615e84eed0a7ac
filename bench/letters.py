"""Letters of about 1 KB whose intents a trained model tells, and the route that asks it.

A letter is what several examples of one intent say, one after another, so that all of it is for
the model to read.
"""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batchyard.judged.tables import read_table
from batchyard.judged.understanding import OUTSIDE
from bench.yards import BenchYard, open_context
from db.router_models import promote, put_model
from providers.intent_files import read_intents
from routing.models.file import dump
from routing.models.intent import IntentModel
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.encoders.words import WordVectors

INTENTS: Final = Path(__file__).parents[1] / "examples" / "intents.yaml"
NAME: Final = "letters"
CHARACTERS: Final = 930


@dataclass(frozen=True, slots=True)
class Letters:
    """A model, and examples of each of its intents."""

    model: IntentModel
    examples: tuple[tuple[str, ...], ...]

    def text(self, number: int) -> str:
        """The same for the same number, of another intent than its neighbours'."""
        said = self.examples[number % len(self.examples)]
        drawn = random.Random(number)
        letter = f"[#{number}]"
        while len(letter) < CHARACTERS:
            letter += f" {drawn.choice(said)}"
        return letter


def train(file: Path) -> Letters:
    """From an intents file, or a table with `text` and `label`. Raises InputError."""
    by_label = _of_file(file) if file.suffix in (".yaml", ".yml") else _of_table(file)
    pairs = [(text, label) for label, said in by_label.items() for text in said]
    examples = Examples([text for text, _ in pairs], [label for _, label in pairs])
    model = train_intents(IntentData(examples), WordVectors())
    return Letters(model, tuple(map(tuple, by_label.values())))


def _of_file(file: Path) -> dict[str, list[str]]:
    return {name: one.examples for name, one in read_intents(file).intents.items()}


def _of_table(file: Path) -> dict[str, list[str]]:
    found = defaultdict(list)
    table = read_table(file)
    for text, label in zip(table["text"], table["label"], strict=True):
        if label.lower() not in OUTSIDE:
            found[label].append(text)
    return dict(found)


def asking(route: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Routes: the one given as `default`, once the model was asked; and without that, for what it
    thinks is out of scope."""
    asked = {"model": NAME, "out_of_scope": "plain", "ambiguous": "answer"}
    return {"default": {**route, "intents": asked}, "plain": route}


def keep(yard: BenchYard, letters: Letters) -> None:
    """Promotes the model in the yard."""
    asyncio.run(_keep(yard, letters.model))


async def _keep(yard: BenchYard, model: IntentModel) -> None:
    async with open_context(yard) as ctx, ctx.pool.connection() as conn:
        version = await put_model(conn, 1, NAME, "intent", dump(model), model.info)
        await promote(conn, 1, NAME, version)
