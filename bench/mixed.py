"""The job of `router-savings` once more, with what is none of its business mixed in, and with what
may mean two things.

A model of intents learns from the half of the table that trains the router: the kinds that its
prompts are of, and one more, `stranger`, that is not to be answered, from messages of another
table. Other messages of it are mixed in, and prompts that are two prompts of two kinds in one.
Whatever is unlike all of that goes to the best model. A person answers what is asked about: with
the kind of the prompt (of two, of the first); strangers get no answer.
"""

import csv
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchyard.judged.tables import read_table
from bench.halves import Halves
from bench.recorded import Row, judged, line_of, until_ended
from core.intents import IntentFile
from db.audit import audit
from db.results import stream_results
from db.router_models import promote, put_model
from routing.models.encoder import WORDS
from routing.models.file import dump
from routing.models.intent import IntentModel
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.clarify import ToClarify, clarify, to_clarify
from tasks.context import Context
from tasks.encoders.find import find_encoder
from tasks.submit import SubmitOptions, submit

STRANGER = "stranger"
EXAMPLES = 300
"""Messages that the intent `stranger` is learned from."""
ODD = 40
"""Prompts of each sort that are mixed in."""
SHORT = 140
"""Characters of a prompt that is put together with another."""
ROUTE = "mixed"


class Odd(NamedTuple):
    """A prompt that is mixed in, and what a person says that it is about; None: nothing."""

    prompt: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class Mix:
    """`kinds` are those of the job's rows, `odd` the prompts that are mixed in by custom_id."""

    intents: IntentModel
    kinds: Sequence[str]
    odd: Mapping[str, Odd]


def mix(cut: Halves, kinds: Path, strangers: Path, seed: int) -> Mix:
    """Trains the model of intents, and draws what is mixed in. `kinds` is a CSV file of
    `first_row,kind`: from which row of the table on its prompts are of which kind."""
    kind_of = _kind_of(kinds)
    drawn = np.random.default_rng(seed)
    messages = [str(text) for text in read_table(strangers)["text"]]
    chosen = [messages[row] for row in drawn.permutation(len(messages))[: EXAMPLES + ODD]]
    told = [kind_of(row) for row in cut.trained_rows]
    examples = Examples([*cut.trained.prompts, *chosen[:EXAMPLES]], [*told, *[STRANGER] * EXAMPLES])
    said: dict[str, Any] = {name: {} for name in sorted(set(told))}
    file = IntentFile.model_validate({"intents": {**said, STRANGER: {"actions": ["reject"]}}})
    odd = {f"out-{n}": Odd(text, None) for n, text in enumerate(chosen[EXAMPLES:])}
    mine = [kind_of(row) for row in cut.rows]
    return Mix(
        train_intents(IntentData(examples, file=file), find_encoder(WORDS)),
        mine,
        odd | _twofold(cut.data.prompts, mine, drawn),
    )


def _kind_of(file: Path) -> Callable[[int], str]:
    with file.open(encoding="utf-8", newline="") as lines:
        parts = [(int(line["first_row"]), line["kind"]) for line in csv.DictReader(lines)]
    first = [row for row, _ in parts]
    return lambda row: parts[bisect_right(first, row) - 1][1]


def _twofold(
    prompts: Sequence[str], kinds: Sequence[str], drawn: np.random.Generator
) -> dict[str, Odd]:
    short = drawn.permutation([row for row, one in enumerate(prompts) if len(one) <= SHORT])
    pairs = [(one, two) for one, two in pairwise(short) if kinds[one] != kinds[two]]
    return {
        f"two-{n}": Odd(f"{prompts[one]} {prompts[two]}", kinds[one])
        for n, (one, two) in enumerate(pairs[:ODD])
    }


async def play_mixed(ctx: Context, cut: Halves, mixed: Mix, alone: Row) -> dict[str, Any]:
    """The job before and after people were asked, beside the same route's job without the rest:
    `alone`."""
    async with ctx.pool.connection() as conn:
        model = mixed.intents
        version = await put_model(conn, 1, "kinds", "intent", dump(model), model.info)
        await promote(conn, 1, "kinds", version)
    lines = [line_of(cut.data, row) for row in range(len(cut.data))]
    lines += [{"custom_id": id_, "prompt": odd.prompt} for id_, odd in mixed.odd.items()]
    drawn = np.random.default_rng(1).permutation(len(lines))
    job = await submit(ctx, [lines[at] for at in drawn], SubmitOptions(route=ROUTE))
    await until_ended(ctx, job)
    before = await _statuses(ctx, job)
    asked, answers = await _answered(ctx, job, mixed)
    sent = await clarify(ctx, 1, job, answers)
    if sent.job_id is not None:
        await until_ended(ctx, sent.job_id)
    row = await judged(ctx, cut.data, job, ROUTE, 0.0)
    async with ctx.pool.connection() as conn:
        report = await audit(conn, 1)
    return {
        "intents": model.info,
        "before": before,
        "asked": len(asked),
        "truth_among_options": _among(asked, mixed),
        "for_example": [asked[0].prompt, asked[0].question] if asked else None,
        "after": await _statuses(ctx, job),
        "quality": row.quality,
        "usd_per_1k": row.usd_per_1k,
        "to_the_same_alone": row.above(alone),
        "audit_ok": report.ok,
    }


def _truth(mixed: Mix, custom_id: str) -> str | None:
    return mixed.kinds[int(custom_id)] if custom_id.isdigit() else mixed.odd[custom_id].kind


async def _answered(
    ctx: Context, job: int, mixed: Mix
) -> tuple[list[ToClarify], list[dict[str, str]]]:
    """What is asked, and what the person says to it."""
    async with ctx.pool.connection() as conn:
        asked = await to_clarify(conn, 1, job)
    known = [(one.custom_id, _truth(mixed, one.custom_id)) for one in asked]
    return asked, [{"custom_id": id_, "answer": kind} for id_, kind in known if kind is not None]


def _among(asked: Sequence[ToClarify], mixed: Mix) -> float | None:
    """The share of the questions whose options hold what the person means."""
    told = [(one, _truth(mixed, one.custom_id)) for one in asked]
    known = [kind in {o.intent for o in one.options} for one, kind in told if kind is not None]
    return float(np.mean(known)) if known else None


async def _statuses(ctx: Context, job: int) -> dict[str, dict[str, int]]:
    """How many requests of each sort ended how."""
    found: dict[str, Counter[str]] = {
        "the job's own": Counter(),
        "out": Counter(),
        "two": Counter(),
    }
    async with ctx.pool.connection() as conn:
        async for block in stream_results(conn, 1, job):
            for line in map(json.loads, block.splitlines()):
                sort = line["custom_id"].partition("-")[0]
                sort = "the job's own" if sort.isdigit() else sort
                found[sort][line["batchyard"]["status"]] += 1
    return {sort: dict(counts) for sort, counts in found.items()}


def as_lines(told: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [
        f"{when:7} {sort:14} " + ", ".join(f"{n} {status}" for status, n in counts.items())
        for when in ("before", "after")
        for sort, counts in told[when].items()
    ]
    among = told["truth_among_options"]
    if among is not None:
        prompt, question = told["for_example"]
        lines.append(f"asked about {told['asked']}, what is meant among the options in {among:.0%}")
        lines.append(f"  {prompt!r}: {question}")
    lines.append(f"quality {told['quality']:.3f}, ${told['usd_per_1k']:.3f} per 1,000")
    mean, low, high = told["to_the_same_alone"]
    lines.append(f"to the same job alone, request by request: {mean:+.3f} ({low:+.3f} {high:+.3f})")
    return lines
