"""Intents: what a route chunk's requests are about, and what follows from it.

A trained model tells at once (`tasks/router/intent_models.py`). Or a deployment is asked through
the yard, in a job linked to the requests' own: a small request each, under the same limits, budget
and ledger. The chunk waits until all of its own requests' have come to an end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from core.intents import OUT_OF_SCOPE, UNCLEAR, IntentFile, IntentsSettings
from core.wishes import read_wishes
from db.connect import Connection
from db.lifecycle import next_job_id
from db.linked import LinkedKind, NewLinked, ask_more, growing, put_linked, said
from db.planning import Intent, Refused, RouteChunk, Unrouted
from db.requests import Row
from routing.asked_intents import Verdict, clarification, question_body, rejection, verdict
from routing.prompt_text import text_of
from routing.targets import resolve_target
from tasks.context import Context
from tasks.router.intent_models import Classified, classify

UNKNOWN = "unknown"
"""Stands for an intent that could not be found out."""
LIVE = "live"
NO_FILE = IntentFile.model_construct(intents={}, out_of_scope=[])


@dataclass(frozen=True, slots=True)
class Understood:
    """By seq the intents of a chunk's requests, and the routes that they go to instead of their
    own; those that end without a call; and who told."""

    intents: Mapping[int, Intent] = field(default_factory=dict)
    routes: Mapping[int, str] = field(default_factory=dict)
    ended: Sequence[Refused] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def to_call(self, requests: list[Unrouted]) -> list[Unrouted]:
        """Those that are to be called, on the routes that they go to."""
        over = {one.seq for one in self.ended}
        return [
            one._replace(target=self.routes.get(one.seq, one.target))
            for one in requests
            if one.seq not in over
        ]


NOTHING = Understood()


async def link_intents(
    context: Context, conn: Connection, job_id: int, targets: Sequence[str]
) -> None:
    """Where one of the job's targets has intents that a model is asked for: the linked job that
    takes the questions. In the transaction of the submit."""
    found = [resolve_target(name, context.settings) for name in targets]
    asked = [one.intents.llm for one in found if one and one.intents and one.intents.llm]
    if asked:
        new = NewLinked(
            id=await next_job_id(conn),
            parent_id=job_id,
            kind=LinkedKind.INTENT,
            route=asked[0],
            total=0,
            source="intents",
            config_digest=context.settings.digest(),
        )
        await put_linked(conn, new)


async def understand(
    context: Context,
    conn: Connection,
    chunk: RouteChunk,
    requests: Sequence[Unrouted],
) -> Understood | None:
    """What is known of the requests' intents; None where a model is being asked first, and the
    chunk waits for that. Nothing where no target has intents."""
    by_target = {
        name: found.intents
        for name in {one.target for one in requests}
        if (found := resolve_target(name, context.settings))
    }
    wanted = [(one, intents) for one in requests if (intents := by_target.get(one.target))]
    if not wanted:
        return NOTHING
    to_ask = [(one, intents) for one, intents in wanted if intents.llm]
    known = await said(conn, chunk, LinkedKind.INTENT) if to_ask else {}
    unasked = [
        (one, intents)
        for one, intents in to_ask
        if one.seq not in known and _told(one) is None and chunk.kind == LIVE
    ]
    if unasked:
        into = await growing(conn, chunk.job_id, LinkedKind.INTENT)
        # Without one, because it was stopped, they are answered as they are.
        if into is not None:
            rows = [(one.seq, _question(one, intents)) for one, intents in unasked]
            await ask_more(conn, into, LinkedKind.INTENT, chunk, rows)
            return None
    by_model = [(one, intents) for one, intents in wanted if intents.model]
    classified = await classify(context, conn, chunk, by_model) if by_model else {}
    return _understood(wanted, known, classified)


def _told(request: Unrouted) -> str | None:
    """The intent that a person has named."""
    return read_wishes(request.wishes).intent


def _question(request: Unrouted, intents: IntentsSettings) -> Row:
    text = text_of(request.body).text
    body = question_body(text, intents.file or NO_FILE, schema=intents.json_schema)
    digest = blake2b(body, digest_size=16).digest()
    return Row(f"intent-{request.seq}", intents.llm or "", body, b"", digest)


def _understood(
    wanted: Sequence[tuple[Unrouted, IntentsSettings]],
    known: Mapping[int, str | None],
    classified: Mapping[int, Classified],
) -> Understood:
    names: dict[int, Intent] = {}
    routes: dict[int, str] = {}
    ended: list[Refused] = []
    reasons: dict[str, str] = {}
    for request, intents in wanted:
        seq, model = request.seq, classified.get(request.seq)
        file = intents.file or (model.file if model else NO_FILE)
        told = _told(request)
        if told:
            found = verdict(json.dumps({"intent": told}), file)
        elif model:
            found = model.verdict
            reasons["intents"] = model.by
        else:
            found = verdict(_text(known.get(seq)), file)
        sure = found.likely[0] if found and found.likely else None
        names[seq] = Intent(found.intent if found else UNKNOWN, sure)
        if found is None:
            continue
        end = _end(seq, found, intents, file)
        if end is not None:
            ended.append(end)
        elif found.intent == OUT_OF_SCOPE:
            routes[seq] = intents.out_of_scope
        elif found.intent in file.intents and file.intents[found.intent].route:
            routes[seq] = file.intents[found.intent].route or ""
    return Understood(names, routes, ended, reasons)


def _end(seq: int, found: Verdict, intents: IntentsSettings, file: IntentFile) -> Refused | None:
    """The result of a request that ends here, without a call."""
    if found.intent == UNCLEAR and intents.ambiguous == "clarify":
        error = clarification(found.among, file, found.likely)
        return Refused(seq, error, "needs_clarification")
    rejected = found.among[0] if found.among else None
    if found.intent == OUT_OF_SCOPE and (rejected or intents.out_of_scope == "reject"):
        return Refused(seq, rejection(rejected), "out_of_scope")
    return None


def _text(body: str | None) -> str:
    """The text of a chat completion; empty where there is none."""
    if body is None:
        return ""
    choices = json.loads(body).get("choices") or [{}]
    content = (choices[0].get("message") or {}).get("content")
    return content if isinstance(content, str) else ""
