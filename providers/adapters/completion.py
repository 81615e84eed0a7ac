"""The few fields of a chat completion that decide what became of a request."""

from typing import Final

import msgspec

from core.deployment import Usage

MOST_TOKENS: Final = 2**31 - 1


class Details(msgspec.Struct):
    """Parts of the prompt or of the completion count."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class RawUsage(msgspec.Struct):
    """`prompt_cache_hit_tokens` is DeepSeek's word for cached tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Message(msgspec.Struct):
    """`refusal` is the model's own, beside or instead of content."""

    refusal: str | None = None


class Choice(msgspec.Struct):
    """One of the `n` answers."""

    message: Message
    finish_reason: str | None = None

    @property
    def refused(self) -> bool:
        return self.finish_reason == "content_filter" or bool(self.message.refusal)


class _Part(msgspec.Struct):
    text: str | None = None


class _Written(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()


class _WrittenChoice(msgspec.Struct):
    message: _Written
    finish_reason: str | None = None


class _WrittenAnswer(msgspec.Struct):
    choices: list[_WrittenChoice] = []


class EmbeddedError(msgspec.Struct):
    """What gateways put into a 200 in place of choices."""

    code: int | str | None = None
    message: str | None = None


class _Answer(msgspec.Struct):
    choices: list[Choice] | None = None
    id: str | None = None
    model: str | None = None
    error: EmbeddedError | str | None = None


class Completion(_Answer):
    """A whole answer; every field may be missing."""

    usage: RawUsage | None = None


_COMPLETION: Final = msgspec.json.Decoder(Completion)
_ANSWER: Final = msgspec.json.Decoder(_Answer)
_WRITTEN: Final = msgspec.json.Decoder(_WrittenAnswer)
_NULL: Final = (b"", b"null")


def decode_completion(body: bytes) -> Completion | str:
    """The completion, or what is wrong with the body.

    A usage of an odd shape does not spoil an answer that was paid for: it becomes unknown.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        return f"the answer is not a chat completion: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"the answer is not JSON: {error}"
    except RecursionError:
        return "the answer is nested too deeply"


def _decode(body: bytes) -> Completion:
    try:
        return _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _ANSWER.decode(body)
        return Completion(answer.choices, answer.id, answer.model, answer.error, None)


def read_answers(body: bytes) -> list[tuple[str, bool, str]]:
    """Of each choice of an answer: its text, whether it does something else than write (calls a
    tool, speaks), and its finish reason. Raises msgspec.DecodeError or UnicodeDecodeError where a
    text is none."""
    return [
        (_text(choice.message.content), _acts(choice.message), choice.finish_reason or "")
        for choice in _WRITTEN.decode(body).choices
    ]


def _text(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "".join(part.text or "" for part in content)
    return content or ""


def _acts(message: _Written) -> bool:
    own = (message.function_call, message.audio)
    return bool(message.tool_calls) or any(bytes(field) not in _NULL for field in own)


def usage_of(completion: Completion) -> Usage | None:
    """Counted tokens, or None where the provider sent no count, one of all zeros, or one
    that no call can reach.

    Some providers leave reasoning tokens out of `completion_tokens` but not out of the
    total, and all bill them: the larger figure is taken.
    """
    raw = completion.usage
    if raw is None or raw.prompt_tokens is None or raw.completion_tokens is None:
        return None
    prompt, output = raw.prompt_tokens, raw.completion_tokens
    if raw.total_tokens is not None:
        output = max(output, raw.total_tokens - prompt)
    if prompt < 0 or output < 0 or not 0 < prompt + output <= MOST_TOKENS:
        return None
    read, written = raw.prompt_tokens_details, raw.completion_tokens_details
    cached = (read.cached_tokens if read else None) or raw.prompt_cache_hit_tokens or 0
    reasoning = (written.reasoning_tokens if written else None) or 0
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cached_tokens=min(max(cached, 0), prompt),
        reasoning_tokens=min(max(reasoning, 0), output),
    )
