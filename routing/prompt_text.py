"""What a router sees of a request: what is asked, and the system prompt around it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class Prompt(NamedTuple):
    """`text` is the last user message, `system` all system and developer messages; parts of a
    message that are no text are left out."""

    text: str
    system: str


def text_of(body: bytes | Mapping[str, Any]) -> Prompt:
    """The prompt of a chat body as it is stored, or of its fields."""
    fields = json.loads(body) if isinstance(body, bytes) else body
    text, system = "", []
    for message in fields.get("messages") or ():
        said = _text(message.get("content"))
        if message.get("role") in ("system", "developer"):
            system.append(said)
        elif message.get("role") == "user":
            text = said
    return Prompt(text, "\n".join(system))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
