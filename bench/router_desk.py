"""A labelling job from end to end: what is none of its business is kept out, what is unclear is
asked about, and the rest is labelled by a cascade, beside the strong model alone.

Real messages with their labels (`text`, `label`), of which one file trains the intents and another
is the job; a third one has messages that are out of scope (label `oos`). The three models are
simulated: they give the right label with a stated accuracy each. The person who is asked knows the
true label. Quality is the share of right labels among the messages that are in scope.
"""

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from batchyard.judged.tables import read_table
from batchyard.judged.understanding import Sources, train_from
from bench.recorded import until_ended
from bench.yards import BenchYard, fresh_yard, open_context
from db.audit import audit
from db.results import stream_results
from db.router_models import promote, put_model
from routing.models.file import dump
from routing.models.intent import IntentModel
from tasks.clarify import clarify, to_clarify
from tasks.context import Context
from tasks.submit import SubmitOptions, submit

HELP = "a labelling job end to end: intents, clarification, a cascade, beside the strong model"
MODELS = {"small": (0.80, 0.1, 0.4), "mini": (0.86, 0.25, 1.0), "large": (0.97, 5.0, 20.0)}
"""Accuracy, and US dollars per million tokens in and out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--intents", type=Path, required=True, help="trains the intents")
    parser.add_argument("--data", type=Path, required=True, help="the job's messages")
    parser.add_argument("--strange", type=Path, required=True, help="has messages labelled oos")
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--odd", type=int, default=60, help="messages out of scope")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; 1 where the audit found something."""
    model, _ = train_from(Sources(data=arguments.intents))
    drawn = np.random.default_rng(arguments.seed)
    table, odd = read_table(arguments.data), read_table(arguments.strange)
    rows = drawn.permutation(len(table["text"]))[: arguments.requests].tolist()
    messages = {f"m-{row}": (table["text"][row], table["label"][row]) for row in rows}
    strange = [
        text for text, label in zip(odd["text"], odd["label"], strict=True) if label == "oos"
    ]
    outside = {f"out-{n}": strange[n] for n in drawn.permutation(len(strange))[: arguments.odd]}
    with fresh_yard(_configuration(messages), workers=1, flower=False) as yard:
        figures = asyncio.run(_measure(yard, model, messages, outside))
    print(json.dumps(figures, indent=2))
    return 0 if figures["audit_ok"] else 1


def _configuration(messages: dict[str, tuple[str, str]]) -> dict[str, Any]:
    prices = {
        name: {"input_per_mtok": into, "output_per_mtok": out}
        for name, (_, into, out) in MODELS.items()
    }
    profile = {
        "latency": {"ms": 20},
        "models": {
            name: {"accuracy": right, "price": prices[name]}
            for name, (right, _, _) in MODELS.items()
        },
        "answers": {id_: {"answer": label} for id_, (_, label) in messages.items()},
    }
    deployments = {
        name: {"provider": "sim", "model": name, "price": prices[name]} for name in MODELS
    }
    cascade = {"candidates": [*MODELS], "choose": "cascade", "cascade": "agreement"}
    desk = {**cascade, "intents": {"model": "desk", "level": 0.05}}
    routes = {"strong": {"candidates": ["large"]}, "cascade": cascade, "desk": desk}
    return {
        "providers": {"sim": {"kind": "simulator", "profile": profile}},
        "deployments": deployments,
        "routes": {name: {"max_output": 32, **route} for name, route in routes.items()},
    }


async def _measure(
    yard: BenchYard,
    model: IntentModel,
    messages: dict[str, tuple[str, str]],
    outside: dict[str, str],
) -> dict[str, Any]:
    texts = {id_: text for id_, (text, _) in messages.items()}
    async with open_context(yard) as ctx:
        async with ctx.pool.connection() as conn:
            version = await put_model(conn, 1, "desk", "intent", dump(model), model.info)
            await promote(conn, 1, "desk", version)
        found: dict[str, Any] = {}
        for route in ("strong", "cascade"):
            job = await _submit(ctx, texts, route)
            found[route] = await _told(ctx, job, messages)
        job = await _submit(ctx, texts | outside, "desk")
        found["desk"] = await _told(ctx, job, messages)
        found["asked"] = await _clarify(ctx, job, messages)
        found["desk, clarified"] = await _told(ctx, job, messages)
        async with ctx.pool.connection() as conn:
            found["audit_ok"] = (await audit(conn, 1)).ok
    return found


async def _submit(ctx: Context, texts: dict[str, str], route: str) -> int:
    lines = [{"custom_id": id_, "prompt": text, "user": id_} for id_, text in texts.items()]
    job = await submit(ctx, lines, SubmitOptions(route=route))
    await until_ended(ctx, job)
    return job


async def _told(ctx: Context, job: int, messages: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """What became of the messages and of what is none of them; quality is of those answered."""
    statuses: dict[str, Counter[str]] = {"in scope": Counter(), "out of scope": Counter()}
    right, cost = [], 0.0
    async with ctx.pool.connection() as conn:
        async for block in stream_results(conn, 1, job):
            for line in map(json.loads, block.splitlines()):
                id_, told = line["custom_id"], line["batchyard"]
                known = id_ in messages
                statuses["in scope" if known else "out of scope"][told["status"]] += 1
                cost += float(told["cost_usd"])
                if known and told["status"] == "completed":
                    said = line["response"]["body"]["choices"][0]["message"]["content"]
                    right.append(said == messages[id_][1])
    return {
        **{place: dict(count) for place, count in statuses.items() if count},
        "quality": round(float(np.mean(right)), 4),
        "usd_per_1k": round(1000 * cost / len(messages), 5),
    }


async def _clarify(ctx: Context, job: int, messages: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A person answers every question about a message; what is none of the job's is left."""
    async with ctx.pool.connection() as conn:
        questions = await to_clarify(conn, 1, job)
    asked = [one for one in questions if one.custom_id in messages]
    among = [messages[one.custom_id][1] in {o.intent for o in one.options} for one in asked]
    answers = [{"custom_id": one.custom_id, "answer": messages[one.custom_id][1]} for one in asked]
    sent = await clarify(ctx, 1, job, answers)
    if sent.job_id is not None:
        await until_ended(ctx, sent.job_id)
    sample = next(iter(asked), None)
    return {
        "questions": len(questions),
        "truth_among_options": round(float(np.mean(among)), 3) if among else None,
        "for_example": None if sample is None else [sample.prompt, sample.question],
    }
