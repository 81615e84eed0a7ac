"""What a router sees of a request: what is asked, and the system prompt around it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec


class Prompt(NamedTuple):
    """`text` is the last user message, `system` all system and developer messages; parts of a
    message that are no text are left out."""

    text: str
    system: str


class _Message(msgspec.Struct):
    role: Any = None
    content: Any = None


class _Body(msgspec.Struct):
    messages: list[_Message] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def text_of(body: bytes | Mapping[str, Any]) -> Prompt:
    """The prompt of a chat body as it is stored, or of its fields."""
    read = _decode(body) if isinstance(body, bytes) else msgspec.convert(body, _Body)
    text, system = "", []
    for message in read.messages or ():
        if message.role in ("system", "developer"):
            system.append(_text(message.content))
        elif message.role == "user":
            text = _text(message.content)
    return Prompt(text, "\n".join(system))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
