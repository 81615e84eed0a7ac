"""Answers as providers really send them, and what is decided."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import (
    ErrorClass,
    ProviderError,
    TransportError,
    classify,
    from_transport,
    malformed,
)
from providers.redact import MESSAGE_CAP, redact
from providers.retry_after import LONGEST_WAIT, retry_after


def _openai(message: str, code: str | int | None = None, kind: str | None = None) -> bytes:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


def _leaf(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> ErrorClass:
    return classify(status, headers or {}, body).error_class


OPENAI_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in "
    "9000 tokens. Please reduce the length of the messages."
)
VLLM_FLAT = json.dumps(
    {"object": "error", "message": OPENAI_LONG, "type": "BadRequestError", "code": 400}
).encode()
VLLM_NEW = _openai(
    "You passed 9001 input tokens and requested 1 output tokens. However, the model's context "
    "length is only 8192 tokens, resulting in a maximum input length of 8191 tokens.",
    400,
    "BadRequestError",
)
LLAMA_CPP = json.dumps(
    {
        "error": {
            "code": 400,
            "message": "request (9001 tokens) exceeds the available context size (8192 tokens)",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 9001,
            "n_ctx": 8192,
        }
    }
).encode()
SGLANG = json.dumps(
    {
        "object": "error",
        "message": "The input (9001 tokens) is longer than the model's context length (8192).",
        "type": "BadRequest",
        "code": 400,
    }
).encode()
GOOGLE_MINUTE = json.dumps(
    [
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
                ],
            }
        }
    ]
).encode()
GOOGLE_DAY = GOOGLE_MINUTE.replace(
    b'"details": [',
    b'"details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": '
    b'[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}, ',
)
AZURE_FILTER = json.dumps(
    {
        "error": {
            "message": "The response was filtered",
            "code": "content_filter",
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
        }
    }
).encode()

GROQ_LARGE = (
    "Request too large for model `m` on tokens per minute (TPM): Limit 12000, Requested 15000, "
    "please reduce your message size and try again."
)


def _google(message: str) -> bytes:
    return json.dumps([{"error": {"message": message, "status": "INVALID_ARGUMENT"}}]).encode()


MISTRAL_422 = {"detail": [{"type": "missing", "msg": "Field required"}]}

# Not of the model's name, but of what a request wants of it.
ABOUT_A_REQUEST = [
    (400, _openai("The model `m` does not support image inputs.")),
    (400, _openai("model is not a multimodal model", 400)),
    (404, _openai("No endpoints found that support tool use", 404)),
    (400, _openai("The file for model was not found in messages[0]")),
]
MODEL_GONE = [
    (400, _openai("The model `m` does not exist.")),
    (400, _openai("The model `m` has been decommissioned and is no longer supported.")),
    (400, _openai("decommissioned", "model_decommissioned")),
    (400, _openai("Model Not Exist", "invalid_request_error", "invalid_request_error")),
    (400, _openai("acme/mini is not a valid model ID", 400)),
    (400, _openai("/chat/completions: Invalid model name passed in model=m. Call `/v1/models`")),
    (400, b'{"object":"error","message":"Invalid model: m","type":"invalid_model","code":"1500"}'),
    (404, _openai("Unable to access model m. Please visit ...", "model_not_available")),
    (404, _openai("Model not found, inaccessible, and/or not deployed", "NOT_FOUND")),
    (404, _openai("No endpoints found for acme/mini.", 404)),
    (
        404,
        b'{"code":"not there","error":"The model m-4 does not exist or your team has no access"}',
    ),
    (404, _google("models/m-3.5 is not found for API version v1main, or is not supported")),
    (404, b'{"error":{"message":"This is not a chat model","param":"model","code":null}}'),
]

CASES = [
    *[(status, body, ErrorClass.CREDENTIAL_DEAD) for status, body in MODEL_GONE],
    *[(status, body, ErrorClass.BAD_REQUEST) for status, body in ABOUT_A_REQUEST],
    (400, _openai("Failed to generate JSON.", "json_validate_failed"), ErrorClass.MALFORMED),
    (422, json.dumps({"object": "error", "message": MISTRAL_422}).encode(), ErrorClass.BAD_REQUEST),
    (429, _openai("Rate limit reached", "rate_limit_exceeded"), ErrorClass.THROTTLED),
    (429, b"", ErrorClass.THROTTLED),
    (429, _openai("no more", "insufficient_quota"), ErrorClass.QUOTA_DEAD),
    (429, _openai("no more", None, "insufficient_quota"), ErrorClass.QUOTA_DEAD),
    (429, _openai("x", "project_spend_limit_exceeded"), ErrorClass.QUOTA_DEAD),
    (429, _openai("You exceeded your current quota"), ErrorClass.QUOTA_DEAD),
    (429, GOOGLE_MINUTE, ErrorClass.THROTTLED),
    (429, _openai("Request too large for gpt-5 on tokens per min"), ErrorClass.TOO_LONG),
    (503, _openai("slower", "slow_down"), ErrorClass.THROTTLED),
    (401, _openai("Incorrect API key provided", "invalid_api_key"), ErrorClass.CREDENTIAL_DEAD),
    (402, b'{"error": "Insufficient credits"}', ErrorClass.CREDENTIAL_DEAD),
    (403, b"<html>no</html>", ErrorClass.CREDENTIAL_DEAD),
    (400, _openai("Incorrect API key provided: abc"), ErrorClass.CREDENTIAL_DEAD),
    (400, _openai(OPENAI_LONG, "context_length_exceeded"), ErrorClass.TOO_LONG),
    (400, VLLM_FLAT, ErrorClass.TOO_LONG),
    (400, VLLM_NEW, ErrorClass.TOO_LONG),
    (400, LLAMA_CPP, ErrorClass.TOO_LONG),
    (500, LLAMA_CPP, ErrorClass.TOO_LONG),
    (400, SGLANG, ErrorClass.TOO_LONG),
    (413, b"", ErrorClass.BAD_REQUEST),
    (400, AZURE_FILTER, ErrorClass.REFUSED),
    (400, _openai("Unknown parameter: 'foo'"), ErrorClass.BAD_REQUEST),
    (404, _openai("no such model", "model_not_found"), ErrorClass.CREDENTIAL_DEAD),
    (404, _openai("gone", "DeploymentNotFound"), ErrorClass.CREDENTIAL_DEAD),
    (
        404,
        b'{"error":"model \'qwen3\' not found, try pulling it first"}',
        ErrorClass.CREDENTIAL_DEAD,
    ),
    (404, _openai("The model `m` does not exist.", 404), ErrorClass.CREDENTIAL_DEAD),
    *[
        (404, body, ErrorClass.CREDENTIAL_DEAD)
        for body in (
            b"",
            b"<html>nginx</html>",
            b"404 page not found",
            b'{"detail":"Not Found"}',
            b'{"error":{"code":"404","message":"Resource not found"}}',
            b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}',
            _openai("Invalid URL (POST /v1/v1/chat/completions)", None, "invalid_request_error"),
        )
    ],
    (404, _openai("No such File object: file-7"), ErrorClass.BAD_REQUEST),
    (404, _openai("File file-7 not found"), ErrorClass.BAD_REQUEST),
    (405, b'{"detail":"Method Not Allowed"}', ErrorClass.CREDENTIAL_DEAD),
    (413, _openai(GROQ_LARGE, "rate_limit_exceeded", "tokens"), ErrorClass.TOO_LONG),
    (
        400,
        _google("The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        ErrorClass.TOO_LONG,
    ),
    (
        400,
        b'{"error": "This model\'s maximum prompt length is 8 but the request contains 9 tokens."}',
        ErrorClass.TOO_LONG,
    ),
    (
        422,
        b'{"error": "Input validation error: `inputs` must have less than 8 tokens. Given: 9"}',
        ErrorClass.TOO_LONG,
    ),
    (
        422,
        b'{"error": "`inputs` tokens + `max_new_tokens` must be <= 8. Given: 9 `inputs` tokens"}',
        ErrorClass.TOO_LONG,
    ),
    (
        400,
        b'{"message": "too many tokens: total number of tokens in the prompt cannot exceed 8"}',
        ErrorClass.TOO_LONG,
    ),
    (
        429,
        b'{"message": "Too many tokens, please wait before trying again."}',
        ErrorClass.THROTTLED,
    ),
    (429, GOOGLE_DAY.replace(b"PerDay", b"PerMinute").replace(b"34s", b""), ErrorClass.THROTTLED),
    (
        403,
        _openai("Your chosen model requires moderation and your input was flagged", 403),
        ErrorClass.REFUSED,
    ),
    (403, b'{"error": "Content violates usage guidelines."}', ErrorClass.REFUSED),
    (400, _openai("Content Exists Risk", "invalid_request_error"), ErrorClass.REFUSED),
    (400, _openai("Output data may contain ...", "data_inspection_failed"), ErrorClass.REFUSED),
    (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', ErrorClass.BAD_REQUEST),
    (307, b"", ErrorClass.CREDENTIAL_DEAD),
    (429, GOOGLE_DAY, ErrorClass.QUOTA_DEAD),
    (429, _openai("x", "enforced_spend_limit_reached"), ErrorClass.QUOTA_DEAD),
    (402, _openai("x", "insufficient_quota"), ErrorClass.QUOTA_DEAD),
    (403, _openai("x", "quota_exceeded"), ErrorClass.QUOTA_DEAD),
    (403, _openai("x", "rate_limit_exceeded"), ErrorClass.THROTTLED),
    (403, _openai("flagged by moderation", "moderation_blocked"), ErrorClass.REFUSED),
    (403, _openai("no", "unsupported_country_region_territory"), ErrorClass.CREDENTIAL_DEAD),
    (401, _openai("no", None, "authentication_error"), ErrorClass.CREDENTIAL_DEAD),
    (503, _openai("later", "server_is_overloaded"), ErrorClass.OVERLOADED),
    (400, _openai("no more", "billing_hard_limit_reached"), ErrorClass.QUOTA_DEAD),
    (524, b"", ErrorClass.UNKNOWN),
    *[
        (status, b"", ErrorClass.OVERLOADED)
        for status in (408, 409, 424, 498, 500, 502, 503, 504, 529)
    ],
]


@pytest.mark.parametrize(("status", "body", "leaf"), CASES)
def test_each_answer_has_its_leaf(status: int, body: bytes, leaf: ErrorClass) -> None:
    assert _leaf(status, body) is leaf


@pytest.mark.parametrize(("status", "body"), MODEL_GONE)
def test_a_model_that_is_gone_says_nothing_of_the_key(status: int, body: bytes) -> None:
    assert classify(status, {}, body).misdirected


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_is_not_a_model_that_is_gone(status: int) -> None:
    assert not classify(status, {}, b"").misdirected


def test_mistrals_list_of_problems_is_told() -> None:
    body = json.dumps({"object": "error", "message": MISTRAL_422}).encode()
    assert classify(422, {}, body).message == "Field required"


@given(st.integers(300, 599), st.binary(max_size=200))
def test_any_answer_gets_a_decision(status: int, body: bytes) -> None:
    error = classify(status, {}, body)
    assert error.message
    assert error.code
    assert error.billed == error.error_class.may_be_billed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "param", "detail", "details", "msg"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([400, 401, 429, 500]), json_values)
def test_any_json_gets_a_decision(status: int, value: object) -> None:
    assert isinstance(classify(status, {}, json.dumps(value).encode()), ProviderError)


def test_no_leaf_is_decided_twice() -> None:
    for leaf in ErrorClass:
        assert not (leaf.next_candidate and leaf.final)


def test_only_a_throttle_is_free() -> None:
    assert [leaf for leaf in ErrorClass if not leaf.spends_attempt] == [ErrorClass.THROTTLED]


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
EPOCH = round(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": str(LONGEST_WAIT)}, LONGEST_WAIT),
        ({"retry-after": str(LONGEST_WAIT + 1)}, None),
        ({"retry-after": "1e30"}, None),
        ({"retry-after": str(EPOCH + 20)}, 20.0),
        ({"retry-after": str(EPOCH + 86400)}, 86400.0),
        ({"retry-after": str(EPOCH - 20)}, None),
        ({"retry-after-ms": f"{EPOCH + 20}000"}, 20.0),
        ({"retry-after-ms": "1e40"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:00 GMT"}, 86400.0),
        ({"retry-after": "Mon, 23 Nov 2099 12:00:30 GMT"}, None),
        ({"retry-after": f"Mon, 23 Nov {10**20} 12:00:30 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("status", [400, 401, 429, 503])
def test_a_wait_is_kept_on_any_status(status: int) -> None:
    assert classify(status, {"retry-after": "9"}, b"").retry_after == 9.0


def test_googles_wait_is_read_from_the_body() -> None:
    assert classify(429, {}, GOOGLE_MINUTE).retry_after == 34.0


def test_a_wait_in_the_body_is_believed_as_far_as_one_in_a_header() -> None:
    for seconds, wait in ((864_000, 864_000.0), (10**9, None)):
        body = GOOGLE_MINUTE.replace(b"34s", f"{seconds}s".encode())
        assert classify(429, {}, body).retry_after == wait


@pytest.mark.parametrize(
    ("status", "advice", "leaf", "hopeless"),
    [
        (400, "true", ErrorClass.OVERLOADED, False),
        (503, "false", ErrorClass.OVERLOADED, True),
        (503, "true", ErrorClass.OVERLOADED, False),
        (429, "false", ErrorClass.THROTTLED, False),
        (401, "true", ErrorClass.CREDENTIAL_DEAD, False),
    ],
)
def test_the_providers_word_on_trying_again_counts(
    status: int, advice: str, leaf: ErrorClass, hopeless: bool
) -> None:
    error = classify(status, {"x-should-retry": advice}, b"")
    assert (error.error_class, error.hopeless) == (leaf, hopeless)


def test_transport_errors_become_decisions() -> None:
    lost = from_transport(TransportError("no answer within 3 s", may_have_arrived=True))
    assert (lost.error_class, lost.billed, lost.status) == (ErrorClass.UNKNOWN, True, None)
    unsent = from_transport(TransportError("refused", may_have_arrived=False))
    assert (unsent.error_class, unsent.billed) == (ErrorClass.TRANSIENT, False)


def test_a_malformed_answer_was_billed() -> None:
    assert malformed(200, "not JSON").billed


SECRETS = [
    "Incorrect API key provided: sk-proj-abcd1234EFGH5678. You can find it in your account",
    "Incorrect API key provided: sk-abcd****5678.",
    "Authorization: Bearer abcd1234EFGH5678 was refused",
    'headers {"x-api-key": "abcd1234EFGH5678"} were refused',
    "https://user:abcd1234EFGH5678@host/v1 was refused",
    "bad key gsk_abcd1234EFGH5678",
    "https://host/v1?key=abcd1234EFGH5678&alt=json",
    "token eyJhbGciOiJIUzI1NiJ9abcd1234.EFGH5678.xyz has expired",
]


@pytest.mark.parametrize("text", SECRETS)
def test_keys_do_not_get_through(text: str) -> None:
    shown = redact(text)
    assert "abcd" not in shown
    assert "5678" not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize(
    "text",
    [
        OPENAI_LONG,
        "Unknown parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "Rate limit reached for gpt-5-mini in organization on tokens per min: Limit 200000",
    ],
)
def test_plain_explanations_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=3000))
def test_messages_are_short_and_on_one_line(text: str) -> None:
    shown = redact(text)
    assert len(shown) <= MESSAGE_CAP
    assert shown.isprintable() or not any(ord(char) < 32 for char in shown)
