"""Cascades against the strong model alone, on recorded answers with their prices.

A table of judged prompts (a row a prompt; of each candidate its score, `|total_cost` and
`|model_response`) is cut in two halves by a seed. One half trains the acceptance scorer; the other
is a job for each route on a fresh yard (`bench/recorded.py`). `mix` is what a mix by lot of two
single candidates gives at that price. With `--folds` no yard runs (`bench/cascade_folds.py`).
"""

import argparse
import asyncio
import json
import os
import time
from typing import Any

import numpy as np

from batchyard.judged.choosing import names
from batchyard.judged.recognise import Wanted, recognise
from batchyard.judged.tables import read_table
from bench.cascade_folds import as_text, by_folds
from bench.halves import add_data_arguments, halves
from bench.recorded import Row, as_table, name_of, play, store, yard_of
from bench.yards import BenchYard, fresh_yard, open_context
from routing.labelled import Labelled
from routing.models.choice import ChoiceModel
from workers.score_answers import score
from workers.score_frames import Answers

HELP = "cascades against the strong model alone, on recorded answers"
CANDIDATES = (
    "gpt-3.5-turbo-1106,zero-one-ai/Yi-34B-Chat,mistralai/mixtral-8x7b-chat,gpt-4-1106-preview"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # The cheap ones first, the strong one last.
    add_data_arguments(parser, candidates=CANDIDATES)
    parser.add_argument("--compare", choices=("exact", "choice", "json"), default="exact")
    parser.add_argument("--folds", type=int, default=0, help="calculate by so many outer folds")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    if arguments.folds:
        return _by_folds(arguments)
    cut = halves(arguments, answers=True)
    data, model = cut.data, cut.model
    config = yard_of(data, _routes(data, arguments.compare), {})
    with fresh_yard(config, workers=1, flower=False) as yard:
        rows = asyncio.run(_measure(yard, data, model))
    figures = {
        "requests": len(data),
        "trained_on": len(cut.trained),
        "routes": [row.told() for row in rows],
        "scoring_ms": _scoring_cpu(data, model),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(figures, indent=2) if arguments.json else _as_table(figures, rows))
    return 0 if all(row.audit_ok for row in rows) else 1


def _by_folds(arguments: argparse.Namespace) -> int:
    wanted = Wanted(candidates=names(arguments.candidates))
    data = recognise(read_table(arguments.data), wanted).data
    whole = np.flatnonzero(~np.isnan(data.quality).any(axis=1))
    told = by_folds(data.take(whole), arguments.folds, arguments.seed)
    print(json.dumps(told, indent=2) if arguments.json else as_text(told))
    return 0


def _routes(data: Labelled, compare: str) -> dict[str, Any]:
    names = [name_of(one) for one in data.candidates]
    agreement = {"accept": "agreement", "compare": compare}
    two = [*names[:2], names[-1]]
    half = round(float(data.cost[:, -1].mean()) * 500, 6)
    return {
        "strong": {"candidates": names[-1:]},
        "cheap": {"candidates": names[:1]},
        "agreement": {"candidates": two, "choose": "cascade", "cascade": agreement},
        "learned": {"candidates": names, "choose": "cascade", "router": {"model": "judge"}},
        "half": {
            "candidates": names,
            "choose": "cascade",
            "router": {"model": "judge", "usd_per_1k": half},
        },
    }


async def _measure(yard: BenchYard, data: Labelled, model: ChoiceModel) -> list[Row]:
    async with open_context(yard) as ctx:
        await store(ctx, model, "judge")
        return [await play(ctx, data, name) for name in yard.settings.routes if name != "default"]


def _scoring_cpu(data: Labelled, model: ChoiceModel) -> dict[str, float]:
    """Milliseconds of CPU a request, in batches of one and of 64."""
    if model.acceptance is None:
        return {}
    judge = model.acceptance
    texts = zip(*(data.responses[name] for name in judge.asked), strict=True)
    asked = [
        Answers(prompt, dict(zip(judge.asked, said, strict=True)))
        for prompt, said in zip(data.prompts, texts, strict=True)
    ]
    score(judge, asked[:64])
    found = {}
    for size in (1, 64):
        few = asked[: 4 * 64]
        began = time.process_time()
        for at in range(0, len(few), size):
            score(judge, few[at : at + size])
        found[str(size)] = round((time.process_time() - began) / len(few) * 1e3, 3)
    return found


def _as_table(figures: dict[str, Any], rows: list[Row]) -> str:
    told = ", ".join(f"{ms} ms in batches of {n}" for n, ms in figures["scoring_ms"].items())
    return "\n".join(
        (
            f"{figures['requests']} requests a route, trained on {figures['trained_on']} others",
            as_table(rows),
            f"scoring, CPU a request: {told}",
            f"load {figures['load']:.1f}",
        )
    )
