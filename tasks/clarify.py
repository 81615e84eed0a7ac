"""Clarify: asks people what their prompts meant, and sends the answered ones on.

What a person answers goes to the model as further messages of the same conversation: the
question, then the answer. The answered requests are a linked job of kind `clarified`, whose
results take the place of the first ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from core.deadline import Deadline
from core.errors import BatchyardError, ConflictError, InputError, LineProblem
from core.ids import job_name
from core.wishes import read_wishes, write_wishes
from db.connect import Connection
from db.lifecycle import give_back_job_id, next_job_id, put_event, time_of
from db.linked import (
    LinkedKind,
    NewLinked,
    Parent,
    Question,
    hold_parent,
    put_linked,
    put_links,
    put_requests,
    questions,
)
from db.requests import Row, put_route_chunks
from routing.prompt_text import text_of
from tasks.bell import ring
from tasks.context import Context
from tasks.intake.sources import Source, is_file, read_lines, source_name

EXCERPT = 200
MAX_ANSWER = 20_000
MAX_PROBLEMS = 100


class Option(msgspec.Struct):
    """An intent that a prompt may have, and what is said of it to people."""

    intent: str
    description: str = ""


class _Asked(msgspec.Struct):
    """As much of a `needs_clarification` result's error as is read here."""

    question: str = ""
    options: list[Option] = msgspec.field(default_factory=list)


class ToClarify(msgspec.Struct):
    """A question as a line of the file that people fill in; `prompt` is its beginning."""

    custom_id: str
    prompt: str
    question: str
    options: list[Option]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Clarified:
    """What became of a file of answers. `job_id` is the linked job, None where nothing was
    answered; `unknown` are the custom_ids that nothing is asked about."""

    job_id: int | None
    answered: int
    unanswered: int
    unknown: tuple[str, ...]


class _Answer(NamedTuple):
    """`text` is said to the model; `intent` where an option was named."""

    text: str
    intent: str | None


_asked = msgspec.json.Decoder(_Asked).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_messages = msgspec.json.Decoder(list[Raw]).decode
_line = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode


async def to_clarify(conn: Connection, project_id: int, job_id: int) -> list[ToClarify]:
    """The job's open questions, in the order of its input. Raises NotFoundError, and
    ConflictError for a linked job: its parent asks."""
    async with conn.transaction():
        parent = await _parent(conn, project_id, job_id)
        found = await questions(conn, parent.part, job_id)
    return [_question(one) for one in found]


async def _parent(conn: Connection, project_id: int, job_id: int) -> Parent:
    parent = await hold_parent(conn, project_id, job_id)
    if parent.parent_id is not None:
        raise ConflictError(
            f"{job_name(job_id)} belongs to {job_name(parent.parent_id)}, which asks for it, too: "
            f"`batchyard clarify {job_name(parent.parent_id)}`"
        )
    return parent


def _question(question: Question) -> ToClarify:
    asked = _asked(question.error)
    text = text_of(question.body.encode()).text
    excerpt = text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"
    return ToClarify(question.custom_id, excerpt, asked.question, asked.options)


async def clarify(
    ctx: Context,
    project_id: int,
    job_id: int,
    answers: Source,
    deadline: Deadline | None = None,
) -> Clarified:
    """Sends on what was answered, within the job's budget and, without one of its own, by its
    `deadline`.

    Answers are lines with a `custom_id` and an `answer`: the number of an option, an intent's
    name, or words of one's own. Those that are empty are left for another time.

    Raises InputError with its problems where lines cannot be used (nothing is sent then),
    NotFoundError, and ConflictError for a linked job or a deadline that has passed.
    """
    given = _read(answers)
    async with ctx.pool.connection() as conn:
        number = await next_job_id(conn)
        try:
            async with conn.transaction():
                done = await _send_on(ctx, conn, project_id, job_id, number, given, deadline)
        except BatchyardError:
            await give_back_job_id(conn, number)
            raise
        if done.job_id is None:
            await give_back_job_id(conn, number)
    if done.job_id is not None:
        await ring(ctx, "route", done.job_id)
    return done


class _Line(NamedTuple):
    number: int
    custom_id: str
    answer: str


class _Lines(NamedTuple):
    """A file of answers; `noun` is what it consists of."""

    lines: list[_Line]
    source: str
    noun: str

    def refusal(self, problems: Sequence[LineProblem]) -> InputError:
        nouns = self.noun if len(problems) == 1 else f"{self.noun}s"
        return InputError(
            f"{self.source}: {len(problems)} bad {nouns}, so nothing was sent on. Mend them and "
            "hand it in again",
            tuple(problems[:MAX_PROBLEMS]),
            self.noun,
        )


def _read(source: Source) -> _Lines:
    read = _Lines([], source_name(source), "line" if is_file(source) else "item")
    problems: list[LineProblem] = []
    seen: dict[str, int] = {}
    for number, line in read_lines(source):
        found = line if isinstance(line, LineProblem) else _read_line(number, line)
        if isinstance(found, LineProblem):
            problems.append(found)
        elif found.custom_id in seen:
            told = (
                f"{found.custom_id!r} was already answered on {read.noun} {seen[found.custom_id]}"
            )
            problems.append(LineProblem(number, "custom_id", told, "Keep one of the two"))
        else:
            seen[found.custom_id] = number
            read.lines.append(found)
    if problems:
        raise read.refusal(problems)
    return read


def _read_line(number: int, line: bytes) -> _Line | LineProblem:
    try:
        fields = _line(line)
    except msgspec.DecodeError:
        fix = 'Write e.g. {"custom_id": "m-17", "answer": "2"}'
        return LineProblem(number, "", "not a JSON object", fix, "invalid_json_line")
    # Of a CSV file the columns that a request has no use for stand in its metadata.
    rest = fields.get("metadata")
    answer = fields.get("answer", rest.get("answer", "") if isinstance(rest, dict) else "")
    custom_id = fields.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return LineProblem(number, "custom_id", "missing", "Keep the one that the question has")
    if answer is None:
        answer = ""
    if isinstance(answer, bool) or not isinstance(answer, str | int):
        fix = "Give an option's number, an intent's name or a sentence"
        return LineProblem(number, "answer", "not a text", fix)
    text = str(answer).strip()
    if len(text) > MAX_ANSWER:
        fix = f"Keep it below {MAX_ANSWER:,} characters"
        return LineProblem(number, "answer", "too long", fix)
    return _Line(number, custom_id, text)


async def _send_on(
    ctx: Context,
    conn: Connection,
    project_id: int,
    job_id: int,
    number: int,
    given: _Lines,
    deadline: Deadline | None,
) -> Clarified:
    parent = await _parent(conn, project_id, job_id)
    if parent.overdue and deadline is None:
        raise ConflictError(
            f"The deadline of {job_name(job_id)} has passed. Give the answers a later one: "
            "--deadline 2h"
        )
    open_ = {one.custom_id: one for one in await questions(conn, parent.part, job_id)}
    unknown = tuple(line.custom_id for line in given.lines if line.custom_id not in open_)
    asked, problems = [], []
    for line in given.lines:
        question = open_.get(line.custom_id)
        if question is None or not line.answer:
            continue
        answer = _answer(line, _asked(question.error).options)
        if isinstance(answer, LineProblem):
            problems.append(answer)
        else:
            asked.append((question, answer))
    if problems:
        raise given.refusal(problems)
    unanswered = len(open_) - len(asked)
    if not asked:
        return Clarified(None, 0, unanswered, unknown)
    new = NewLinked(
        id=number,
        parent_id=job_id,
        kind=LinkedKind.CLARIFIED,
        route=parent.route,
        total=len(asked),
        source=given.source,
        config_digest=ctx.settings.digest(),
        deadline=None if deadline is None else await time_of(conn, deadline),
    )
    await put_linked(conn, new)
    rows = [(question.row, _row(question, answer)) for question, answer in asked]
    await put_requests(conn, parent.part, number, rows)
    seqs = [question.seq for question, _ in asked]
    await put_links(conn, new, seqs, list(range(len(asked))))
    await put_route_chunks(conn, parent.part, number, len(asked))
    await put_event(conn, number, "submitted", {"total": len(asked), "clarifies": job_name(job_id)})
    await put_event(conn, job_id, "clarified", {"answers": len(asked), "by": job_name(number)})
    return Clarified(number, len(asked), unanswered, unknown)


def _answer(line: _Line, options: list[Option]) -> _Answer | LineProblem:
    """An option by its number or its intent's name; anything else is said as it is."""
    chosen = [one for one in options if one.intent.casefold() == line.answer.casefold()]
    if not chosen and options and line.answer.isascii() and line.answer.isdigit():
        place = int(line.answer) if len(line.answer) < 9 else 0
        if not 1 <= place <= len(options):
            problem = f"{line.answer} is no option"
            told = ", ".join(f"{n} ({one.intent})" for n, one in enumerate(options, start=1))
            return LineProblem(line.number, "answer", problem, f"The options are {told}")
        chosen = [options[place - 1]]
    if chosen:
        return _Answer(chosen[0].description or chosen[0].intent, chosen[0].intent)
    return _Answer(line.answer, None)


def _row(question: Question, answer: _Answer) -> Row:
    fields = _fields(question.body)
    said = [
        {"role": "assistant", "content": _asked(question.error).question},
        {"role": "user", "content": answer.text},
    ]
    fields["messages"] = Raw(_encode([*_messages(fields["messages"]), *said]))
    body = _encode(fields)
    wishes = msgspec.structs.replace(read_wishes(question.wishes), intent=answer.intent)
    return Row(
        custom_id=question.custom_id,
        target=question.target,
        body=body,
        metadata=(question.metadata or "").encode(),
        prompt_hash=blake2b(body, digest_size=16).digest(),
        wishes=write_wishes(wishes),
    )
