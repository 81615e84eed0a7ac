"""OpenAI's chat-completions wire format.

Shapes after OpenAI's API reference (chat completion object) and the types of its Python client.
Errors and the heads of replies have files of their own.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from providers.simulator.exchange import (
    Answer,
    Ask,
    BadAskError,
    Completion,
    Problem,
    ProblemKind,
    Wire,
)
from providers.simulator.openai_errors import write_problem
from providers.simulator.openai_head import head

REQUEST_ID_HEADER = b"x-batchyard-request-id"
TOKENS_PER_REPLY = 3
TOKENS_PER_MESSAGE = 3
TOKENS_PER_ATTACHMENT = 85
MAX_CHOICES = 128
MAX_ID = 512


class Part(msgspec.Struct):
    """One part of a message; only text is read."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class Body(msgspec.Struct):
    """The fields that shape a reply; others are accepted and do not matter here."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    tools: msgspec.Raw | None = None


_DECODER = msgspec.json.Decoder(Body)
_encode = msgspec.json.encode


def read_ask(headers: Mapping[bytes, bytes], body: bytes) -> Ask:
    """A call from its headers and body. Raises BadAskError for what OpenAI refuses with 400."""
    try:
        chat = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(f"We could not parse the JSON body of your request: {error}") from error
    limit = _checked_limit(chat)
    text_bytes, attachments = _sizes(chat.messages)
    tools = len(chat.tools) // 4 if chat.tools is not None else 0
    prompt = _last_user_text(chat.messages)
    key_ids = _ids(headers, chat, prompt)
    wanted = chat.response_format
    field, options = _schema_field(wanted) if wanted is not None else (None, ())
    return Ask(
        model=chat.model,
        request_id=key_ids[0] if key_ids else f"body-{_digest(body)}",
        key_ids=key_ids,
        prompt=prompt,
        text_bytes=text_bytes,
        overhead=TOKENS_PER_REPLY
        + TOKENS_PER_MESSAGE * len(chat.messages)
        + TOKENS_PER_ATTACHMENT * attachments
        + tools,
        body_bytes=len(body),
        max_tokens=limit,
        choices=chat.n or 1,
        field=field,
        options=options,
    )


def _checked_limit(chat: Body) -> int | None:
    """The output limit, after the checks that types alone cannot make."""
    if not chat.messages:
        raise _bad("Invalid 'messages': empty array. Give at least one message.", "messages")
    if not chat.model:
        raise _bad("you must provide a model parameter", "model")
    if chat.stream:
        raise _bad(
            "The simulator does not stream. Leave 'stream' out: batch lines forbid it.", "stream"
        )
    if chat.n is not None and not 1 <= chat.n <= MAX_CHOICES:
        raise _bad(f"Invalid 'n': {chat.n} is not between 1 and {MAX_CHOICES}.", "n")
    name, value = "max_completion_tokens", chat.max_completion_tokens
    if value is None:
        name, value = "max_tokens", chat.max_tokens
    if value is not None and value < 1:
        raise _bad(f"Invalid '{name}': {value} is below 1.", name)
    return value


def _bad(message: str, param: str | None = None) -> BadAskError:
    return BadAskError(Problem(ProblemKind.BAD_REQUEST, message, param))


def _invalid(message: str) -> BadAskError:
    """OpenAI's wording for a missing parameter, msgspec's for a wrong type."""
    missing = message.partition("missing required field `")[2].partition("`")
    path = message.partition("at `$")[2].rstrip("`").lstrip(".")
    if missing[1]:
        name = f"{path}.{missing[0]}" if path else missing[0]
        return _bad(f"Missing required parameter: '{name}'.", name)
    return _bad(f"Invalid request: {message.partition(' - at')[0]}.", path or None)


def _sizes(messages: list[Message]) -> tuple[int, int]:
    """(UTF-8 bytes of all text, number of parts that are not text)."""
    size = attachments = 0
    for message in messages:
        content = message.content
        if isinstance(content, str):
            size += len(content) if content.isascii() else len(content.encode())
        elif content is not None:
            size += sum(len(part.text.encode()) for part in content if part.text is not None)
            attachments += sum(part.text is None for part in content)
    return size, attachments


def _last_user_text(messages: list[Message]) -> str:
    for message in reversed(messages):
        if message.role != "user":
            continue
        if isinstance(message.content, list):
            return "\n".join(part.text for part in message.content if part.text is not None)
        return message.content or ""
    return ""


def _ids(headers: Mapping[bytes, bytes], chat: Body, prompt: str) -> tuple[str, ...]:
    """Ids of the request: our header, metadata.custom_id, user, a `[#id]` that ends the prompt."""
    ids: list[str] = []
    header = headers.get(REQUEST_ID_HEADER)
    if header:
        ids.append(header.decode("latin-1"))
    if chat.metadata:
        custom = chat.metadata.get("custom_id")
        if isinstance(custom, str) and custom:
            ids.append(custom)
    if chat.user:
        ids.append(chat.user)
    tail = prompt[-MAX_ID:].rstrip()
    if tail.endswith("]"):
        mark = tail.rfind("[#")
        if mark >= 0:
            ids.append(tail[mark + 2 : -1])
    return tuple(ids)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def _schema_field(wanted: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """(property, its enum) of a JSON schema with exactly one string property, else (None, ())."""
    schema = wanted.get("json_schema")
    schema = schema.get("schema") if isinstance(schema, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) != 1:
        return None, ()
    ((name, spec),) = properties.items()
    options = spec.get("enum", []) if isinstance(spec, dict) else None
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        return None, ()
    return name, tuple(options)


def read_credential(headers: Mapping[bytes, bytes]) -> str | None:
    """The bearer key, or None."""
    value = headers.get(b"authorization")
    if value is None:
        return None
    scheme, _, key = value.decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def write_completion(reply: Completion) -> bytes:
    """A chat.completion object."""
    model = _encode(reply.model).decode()
    if len(reply.answers) == 1:
        choices = _choice(0, reply.answers[0])
        thought = reply.answers[0].reasoning_tokens
    else:
        choices = ",".join(_choice(number, one) for number, one in enumerate(reply.answers))
        thought = sum(one.reasoning_tokens for one in reply.answers)
    written = reply.completion_tokens + reply.overstated
    stated = "" if reply.stated_cost is None else f',"cost":{reply.stated_cost}'
    return (
        f'{{"id":"chatcmpl-{reply.token}","object":"chat.completion",'
        f'"created":{int(time.time())},"model":{model},"choices":[{choices}],'
        f'"usage":{{"prompt_tokens":{reply.prompt_tokens},'
        f'"completion_tokens":{written},'
        f'"total_tokens":{reply.prompt_tokens + written},'
        f'"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{thought},"audio_tokens":0,'
        f'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}{stated}}},'
        f'"service_tier":"default","system_fingerprint":"fp_sim{reply.seed & 0xFFFFFFFF:08x}"}}'
    ).encode()


def _choice(number: int, answer: Answer) -> str:
    text = _encode(answer.text).decode()
    content, refusal = ("null", text) if answer.declined else (text, "null")
    reason = "length" if answer.cut else "stop"
    return (
        f'{{"index":{number},"message":{{"role":"assistant","content":{content},'
        f'"refusal":{refusal},"annotations":[]}},"logprobs":null,"finish_reason":"{reason}"}}'
    )


def write_models(names: list[str], created: int) -> bytes:
    """The model list; `created` in unix seconds."""
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": "simulator"}
        for name in names
    ]
    return _encode({"object": "list", "data": data})


WIRE = Wire(
    call_path="/v1/chat/completions",
    models_path="/v1/models",
    read_ask=read_ask,
    read_credential=read_credential,
    write_completion=write_completion,
    write_problem=write_problem,
    write_models=write_models,
    head=head,
)
