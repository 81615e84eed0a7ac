"""Counts a stored request's tokens: an estimate for limits, an upper bound for money.

The estimate is o200k's exact count of the texts and a few tokens per message; other models'
tokenizers differ, so for them the bound is the number of UTF-8 bytes: a byte-level BPE
tokenizer, and one with byte fallback, never makes more tokens than bytes.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import msgspec
import toktok
from msgspec import Raw

from core.deployment import Deployment
from core.size import UNBOUNDED, Size
from providers.request import Body, Part, read_body

_ENCODING: Final = "o200k_base"

# Per message: the role and its delimiters; per request: the answer's opening.
# https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb
_PER_MESSAGE: Final = 4
_PER_REQUEST: Final = 3
_PER_TOOL: Final = 12
_IMAGE: Final = 1000

# Bounds. Chat templates of open models write longer delimiters around a message, and begin
# with a system text of their own (gpt-oss' is some 80 tokens); with tools they explain how to
# call them.
_MESSAGE_BOUND: Final = 16
_REQUEST_BOUND: Final = 128
_TOOLS_BOUND: Final = 512
_TOOL_BOUND: Final = 32
# The dearest image known: gpt-4o-mini in high detail, 2,833 + 8 tiles of 5,667 tokens.
# https://platform.openai.com/docs/guides/images-vision#calculating-costs
_IMAGE_BOUND: Final = 48_169
_LOW_IMAGE_BOUND: Final = 2_833

_OPENAI_MODELS: Final = ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "o1", "o3", "o4", "chatgpt-4o")
_EXACT_HOSTS: Final = {"api.openai.com": "", "openrouter.ai": "openai/"}


class _Shape(msgspec.Struct, frozen=True, gc=False):
    """What is counted of a request: its texts, and how much stands around them."""

    texts: list[str]
    messages: int
    tools: int
    images: int
    low_images: int
    bounded: bool

    @property
    def overhead(self) -> int:
        return (
            _PER_REQUEST
            + _PER_MESSAGE * self.messages
            + _PER_TOOL * self.tools
            + _IMAGE * (self.images + self.low_images)
        )

    @property
    def overhead_bound(self) -> int:
        return (
            _REQUEST_BOUND
            + _MESSAGE_BOUND * self.messages
            + (_TOOLS_BOUND + _TOOL_BOUND * self.tools if self.tools else 0)
            + _IMAGE_BOUND * self.images
            + _LOW_IMAGE_BOUND * self.low_images
        )


def has_exact_tokens(deployment: Deployment) -> bool:
    """Whether the model reads o200k tokens, so that its input can be counted exactly."""
    return _is_exact(deployment.base_url, deployment.model)


@lru_cache(maxsize=1024)
def _is_exact(base_url: str, model: str) -> bool:
    prefix = _EXACT_HOSTS.get(urlsplit(base_url).hostname or "")
    if prefix is None or not model.startswith(prefix):
        return False
    return model.removeprefix(prefix).startswith(_OPENAI_MODELS)


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A stored request, read once: the `tokens` it probably sends, and what bounds its bill.

    `limit` is the output limit that it names, per answer; None where it names none.
    """

    tokens: int
    text_bytes: int
    overhead_bound: int
    bounded: bool
    limit: int | None
    choices: int

    def size(self, default: int) -> Size:
        """What bounds its bill anywhere; `default` output tokens where it names no limit. Nothing
        bounds audio, files kept elsewhere, and tools that a provider runs itself."""
        text_bytes = self.text_bytes if self.bounded else UNBOUNDED
        return Size(self.tokens, text_bytes, self.overhead_bound, self.output_limit(default))

    def output_limit(self, default: int) -> int:
        """The output tokens allowed at most, over all choices; `default` for each where the
        request names no limit. Reasoning counts as output."""
        return (default if self.limit is None else self.limit) * self.choices


def count_many(bodies: Sequence[bytes]) -> list[Counted]:
    """Stored bodies, each read once, all in one pass of the tokenizer, in their order.

    Raises InputError, with the path in the body, where one is no chat request.
    """
    read = [read_body(body) for body in bodies]
    shapes = [_shape(one) for one in read]
    counts = iter(toktok.batch_count((text for s in shapes for text in s.texts), _ENCODING, 1))
    return [
        _counted(one, shape, shape.overhead + sum(next(counts) for _ in shape.texts))
        for one, shape in zip(read, shapes, strict=True)
    ]


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _counted(body: Body, shape: _Shape, tokens: int) -> Counted:
    named = [limit for limit in (body.max_completion_tokens, body.max_tokens) if limit is not None]
    return Counted(
        tokens=tokens,
        text_bytes=sum([_bytes(text) for text in shape.texts]),
        overhead_bound=shape.overhead_bound,
        bounded=shape.bounded,
        limit=max(named, default=None),
        choices=body.n or 1,
    )


def estimate_input(body: bytes) -> int:
    """The input tokens that a stored body probably costs.

    Raises InputError, with the path in the body, where it is no chat request.
    """
    return count_many([body])[0].tokens


def _shape(body: Body) -> _Shape:
    texts: list[str] = []
    parts: list[Part] = []
    for message in body.messages:
        if isinstance(message.content, str):
            texts.append(message.content)
        elif message.content:
            parts += message.content
        if message.name or message.refusal or message.reasoning_content:
            texts += _filled((message.name, message.refusal, message.reasoning_content))
        if message.tool_calls or message.function_call:
            texts += _raw((message.tool_calls, message.function_call))
    for part in parts:
        texts += _filled((part.text, part.refusal))
    if body.tools or body.functions or body.response_format:
        texts += _raw((body.tools, body.functions, body.response_format))
    low = sum(part.is_image and part.is_low for part in parts)
    return _Shape(
        texts=texts,
        messages=len(body.messages),
        tools=len(body.tool_types),
        images=sum(part.is_image for part in parts) - low,
        low_images=low,
        bounded=body.bounded and all(part.is_bounded for part in parts),
    )


def _filled(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _raw(fields: Iterable[Raw]) -> list[str]:
    return [bytes(field).decode() for field in fields if field]
