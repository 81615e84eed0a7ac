"""The fields of a stored chat request that cost money, read once and typed."""

from typing import Annotated, Final

import msgspec

from core.errors import InputError

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]

_NO_VALUE: Final = (b"", b"null")
_TEXT_PARTS: Final = frozenset({"text", "refusal", "input_text"})


class Image(msgspec.Struct):
    """`detail` is `low`, `high`, `auto` or missing."""

    detail: str | None = None


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    image_url: Image | str | None = None

    @property
    def is_image(self) -> bool:
        return self.type == "image_url"

    @property
    def is_low(self) -> bool:
        return isinstance(self.image_url, Image) and self.image_url.detail == "low"

    @property
    def is_bounded(self) -> bool:
        """Audio, video and files cost what only the provider can tell."""
        return self.is_image or self.type in _TEXT_PARTS


class Message(msgspec.Struct):
    """One message of the conversation, of any role."""

    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()


class _Tool(msgspec.Struct):
    type: str = "function"


class Body(msgspec.Struct):
    """A stored request; everything else in it costs nothing by itself."""

    messages: list[Message] = []
    max_completion_tokens: AtLeastOne | None = None
    max_tokens: AtLeastOne | None = None
    n: AtLeastOne | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()
    prediction: msgspec.Raw = msgspec.Raw()
    web_search_options: msgspec.Raw = msgspec.Raw()
    plugins: msgspec.Raw = msgspec.Raw()

    @property
    def tool_types(self) -> list[str]:
        """The kind of each tool, the older `functions` among them."""
        listed = [*_tools(self.tools), *_tools(self.functions)]
        return [tool.type for tool in listed]

    @property
    def bounded(self) -> bool:
        """Whether the provider does nothing of its own accord: searches, runs tools, speaks,
        or bills a prediction beside what it writes."""
        own = (self.audio, self.prediction, self.web_search_options, self.plugins)
        if any(field and bytes(field) not in _NO_VALUE for field in own):
            return False
        return all(kind in ("function", "custom") for kind in self.tool_types)


_BODY: Final = msgspec.json.Decoder(Body)
_TOOLS: Final = msgspec.json.Decoder(list[_Tool])


def _tools(raw: msgspec.Raw) -> list[_Tool]:
    return _TOOLS.decode(raw) if raw and bytes(raw) not in _NO_VALUE else []


def read_body(body: bytes) -> Body:
    """The body's costs. Raises InputError, with the path in the body, where it is no chat
    request."""
    try:
        read = _BODY.decode(body)
        _tools(read.tools)
        _tools(read.functions)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is not a chat request: {error}") from error
    return read
