"""What models know of a request besides its text: its metadata, and which template it is of."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from routing.prompt_text import text_of

TEMPLATE: Final = "template"
"""The tag that requests of the same system prompt share."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def prompt_and_tags(body: bytes, metadata: str | None) -> tuple[str, dict[str, str]]:
    """The text of a stored request and its tags by name: the metadata's texts, numbers and
    truths, and a `template` of its system prompt unless the metadata has one."""
    prompt = text_of(body)
    tags = tags_of(metadata)
    if prompt.system and TEMPLATE not in tags:
        tags[TEMPLATE] = blake2b(prompt.system.encode(), digest_size=6).hexdigest()
    return prompt.text, tags


def tags_of(metadata: str | None) -> dict[str, str]:
    """The plain values of stored metadata, as texts."""
    fields: Mapping[str, Any] = _decode(metadata) if metadata else {}
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in fields.items()
        if isinstance(value, str | int | float)
    }
