"""The demo's second part: the same messages by the router, beside the best cloud alone.

A model of intents, learned from `examples/intents.yaml`, keeps out what is none of the bank's
business and asks back about what may mean two things. What is left goes to the two cheap clouds,
and to the best one where they disagree.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from batchyard.client import Job
from batchyard.connection import open_context
from batchyard.demo.plan import ALONE, FOLDER, ROUTER, Material, Message
from batchyard.demo.report import Desk, Way, label_of
from core.ids import DEFAULT_PROJECT, job_name
from core.lazy import lazy
from db.jobs import JobView
from db.projects import find_project
from db.router_models import promote, put_model
from providers.intent_files import read_intents

# A second of imports, while the clouds are at work anyway.
if TYPE_CHECKING:
    from batchyard.judged import understanding
    from routing.models import file as model_file
    from routing.models import intent
else:
    understanding = lazy("batchyard.judged.understanding")
    model_file = lazy("routing.models.file")
    intent = lazy("routing.models.intent")

INTENTS: Final = FOLDER.parent / "intents.yaml"
STRANGE: Final = "strange-"
AMBIGUOUS: Final = Message("ambiguous-1", "My card does not work for payments", "", "")
TEXT: Final = "Message: {text}\n\n"


class Strange(msgspec.Struct, frozen=True):
    """What is none of a bank's business."""

    id: str
    text: str


def learn() -> str:
    """Learns the intents and keeps the model in the yard; one line on it."""
    model, lines = understanding.train_from(understanding.Sources(file=INTENTS))
    asyncio.run(_keep(model))
    return lines[0]


async def _keep(model: "intent.IntentModel") -> None:
    """Routes go by it from now on."""
    async with open_context() as ctx, ctx.pool.connection() as conn:
        project = await find_project(conn, DEFAULT_PROJECT)
        body, info = model_file.dump(model), dict(model.info)
        version = await put_model(conn, project, ROUTER, "intent", body, info)
        await promote(conn, project, ROUTER, version)


def messages(material: Material) -> list[Message]:
    """Those of the demo's messages that are about an intent of the desk."""
    known = read_intents(INTENTS).intents
    return [message for message in material.messages if message.label in known]


def strangers(folder: Path = FOLDER) -> list[Strange]:
    """The messages that are none of a bank's business."""
    lines = (folder / "strange.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Strange) for line in lines]


def lines(material: Material, route: str) -> Iterator[dict[str, Any]]:
    """A line for each message. The question stands apart from it: intents are told by what the
    customer wrote."""
    question = material.prompt.replace(TEXT, "").format(labels="\n".join(material.labels))
    written: list[Message | Strange] = [*messages(material), *strangers(), AMBIGUOUS]
    for one in written:
        yield {
            "custom_id": one.id,
            "model": route,
            "messages": [
                {"role": "system", "content": question},
                {"role": "user", "content": one.text},
            ],
            "max_tokens": 24,
            "temperature": 0,
            "user": one.id,
        }


def seen(material: Material, jobs: Mapping[str, Job]) -> Desk:
    """What became of the jobs by route, once they have ended."""
    gold = {message.id: message.label for message in material.messages}
    ways, kept_out = [], []
    for route in (ALONE, ROUTER):
        found = list(jobs[route].results())
        ways.append(_way(route, jobs[route].status(), found, gold))
        kept_out += [one["custom_id"] for one in found if _status(one) == "out_of_scope"]
    texts = {one.id: one.text for one in strangers()}
    asked = {one.custom_id: one.question for one in jobs[ROUTER].questions()}
    return Desk(
        ways=tuple(ways),
        stranger=next((texts[one] for one in kept_out if one in texts), ""),
        question=asked.get(AMBIGUOUS.id, ""),
    )


def _way(
    route: str, view: JobView, found: Iterable[Mapping[str, Any]], gold: Mapping[str, str]
) -> Way:
    mine = [one for one in found if one["custom_id"] in gold]
    answered = [one for one in mine if _status(one) == "completed"]
    strange = [one for one in found if one["custom_id"].startswith(STRANGE)]
    return Way(
        route=route,
        job=job_name(view.id),
        status=view.status,
        answered=len(answered),
        right=sum(_answer(one) == gold[one["custom_id"]].casefold() for one in answered),
        kept_out=sum(_status(one) == "out_of_scope" for one in strange),
        strange=len(strange),
        shut_out=sum(_status(one) == "out_of_scope" for one in mine),
        asked=sum(_status(one) == "needs_clarification" for one in found),
        cost_usd=view.cost_usd,
        cost_nusd=view.cost_nusd,
    )


def _status(line: Mapping[str, Any]) -> str:
    return str(line["batchyard"]["status"])


def _answer(line: Mapping[str, Any]) -> str:
    return label_of(line["response"]["body"]["choices"][0]["message"]["content"] or "")
