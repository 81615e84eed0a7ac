"""OpenAI's chat completions, which most providers and servers speak.

POST {base_url}/chat/completions (https://platform.openai.com/docs/api-reference/chat).
A stored body is a JSON object without `model` and `stream`; it is sent as it is, with the
fields of the deployment spliced in front: no decoding and encoding on the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from core.deployment import Deployment, Reply, Usage
from core.ports import HttpCall
from providers.adapters.completion import Completion, decode_completion, usage_of
from providers.errors import ProviderError, classify, malformed
from providers.redact import ID_CAP, clipped

OPENAI_HOST: Final = "api.openai.com"
REQUEST_ID_HEADER: Final = "x-batchyard-request-id"
"""Sent to the simulator, which counts by it what it billed."""
CLIENT_ID_HEADER: Final = "x-client-request-id"
"""OpenAI's: finds a call that timed out, and so has no id of theirs, in their logs.
https://platform.openai.com/docs/api-reference/supplying-your-own-request-id-with-x-client-request-id"""

_LIMIT_FIELDS: Final = ("max_completion_tokens", "max_tokens")


class _Limits(msgspec.Struct):
    """The fields of a stored body that decide how it is spliced."""

    max_completion_tokens: msgspec.Raw = msgspec.Raw()
    max_tokens: msgspec.Raw = msgspec.Raw()


_LIMITS: Final = msgspec.json.Decoder(_Limits)
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL: Final = b"null"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is the same for every call with one key to one deployment."""

    deployment: Deployment
    key: str | None
    url: str
    headers: Mapping[str, str]
    id_header: str | None
    start: bytes
    limit_field: str


class OpenAIAdapter:
    """Builds calls and reads answers; remembers nothing but prepared headers."""

    def __init__(self) -> None:
        self._prepared: dict[str, _Prepared] = {}

    def build(
        self,
        deployment: Deployment,
        key: str | None,
        body: bytes,
        *,
        max_output: int,
        request_id: str,
    ) -> HttpCall:
        """The call for a stored body.

        `max_output` (tokens) is sent where the body has no limit of its own. A limit under
        the name that the provider does not read is renamed, so that it holds after a
        fallback too. `request_id` (ASCII, at most 512 characters) goes to those who use it:
        the simulator and OpenAI itself.
        """
        prepared = self._prepared.get(deployment.name)
        if prepared is None or prepared.deployment is not deployment or prepared.key != key:
            prepared = _prepare(deployment, key)
            self._prepared[deployment.name] = prepared
        headers = prepared.headers
        if prepared.id_header is not None:
            headers = {**headers, prepared.id_header: request_id}
        content = _splice(prepared, body, max_output)
        return HttpCall(prepared.url, headers, content, deployment.timeout)

    def parse(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply | ProviderError:
        """The answer, or why there is none. `headers` have lower-case names."""
        if not 200 <= status < 300:
            return classify(status, headers, body)
        completion = decode_completion(body)
        if isinstance(completion, str):
            return malformed(status, completion)
        usage = usage_of(completion)
        if not completion.choices:
            return _no_choices(status, headers, body, completion, usage)
        first = completion.choices[0]
        if first.finish_reason == "error":
            return malformed(status, "the provider broke off its answer with an error", usage)
        return Reply(
            status=status,
            body=body,
            request_id=clipped(headers.get("x-request-id") or completion.id or "", ID_CAP),
            model=clipped(completion.model or "", ID_CAP),
            usage=usage,
            finish_reason=clipped(first.finish_reason or "", ID_CAP),
            refused=all(choice.refused for choice in completion.choices),
        )


def _prepare(deployment: Deployment, key: str | None) -> _Prepared:
    headers = {"content-type": "application/json", "accept": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    headers.update({name.lower(): value for name, value in deployment.headers.items()})
    at_openai = urlsplit(deployment.base_url).hostname == OPENAI_HOST
    id_header = CLIENT_ID_HEADER if at_openai else None
    if deployment.kind == "simulator":
        id_header = REQUEST_ID_HEADER
    return _Prepared(
        deployment=deployment,
        key=key,
        url=deployment.base_url.rstrip("/") + "/chat/completions",
        headers=headers,
        id_header=id_header,
        start=b'{"model":' + msgspec.json.encode(deployment.model),
        limit_field=_LIMIT_FIELDS[0] if at_openai else _LIMIT_FIELDS[1],
    )


def _splice(prepared: _Prepared, body: bytes, max_output: int) -> bytes:
    limits = _LIMITS.decode(body)
    field = prepared.limit_field
    if not (limits.max_completion_tokens or limits.max_tokens):
        added = f',"{field}":{max_output}'.encode()
    elif _is_set(getattr(limits, field)):
        added = b""
    else:
        body, limit = _without_limits(body, max_output)
        added = f',"{field}":'.encode() + limit
    rest = body.lstrip()[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b"".join((prepared.start, added, comma, rest))


def _is_set(value: msgspec.Raw) -> bool:
    return bytes(value).strip() not in (b"", _NULL)


def _without_limits(body: bytes, max_output: int) -> tuple[bytes, bytes]:
    """The body without its limit fields, and the limit in force as JSON."""
    fields = _FIELDS.decode(body)
    values = [bytes(fields.pop(name, msgspec.Raw(_NULL))).strip() for name in _LIMIT_FIELDS]
    set_values = [value for value in values if value != _NULL]
    limit = set_values[0] if set_values else str(max_output).encode()
    return msgspec.json.encode(fields), limit


def _no_choices(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    completion: Completion,
    usage: Usage | None,
) -> ProviderError:
    """Gateways wrap another provider's failure in a 200; its own status is in `error.code`."""
    error = completion.error
    if error is None:
        return malformed(status, "the provider's answer holds no choices", usage)
    if isinstance(error, str):
        return malformed(status, error or "the provider answered 200 with an error", usage)
    if (inner := _as_status(error.code)) is not None:
        return classify(inner, headers, body)
    return malformed(status, error.message or "the provider answered 200 with an error", usage)


def _as_status(code: int | str | None) -> int | None:
    """The HTTP status that a code is, as a number or in digits; None where it is none."""
    if isinstance(code, str):
        code = int(code) if len(code) == 3 and code.isascii() and code.isdecimal() else None
    return code if code is not None and 400 <= code < 600 else None
