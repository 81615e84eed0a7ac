"""OpenAI's errors: status, envelope, and the words that clients go by."""

from collections.abc import Mapping

import msgspec

from providers.simulator.exchange import Problem, ProblemKind
from providers.simulator.limits import OverLimit
from providers.simulator.openai_head import duration


def write_problem(problem: Problem, model: str) -> tuple[int, bytes]:
    """(status, error envelope) of a problem met by a call to `model`."""
    status, kind, code, param, message = _told(problem, model)
    error = {"message": message, "type": kind, "param": param, "code": code}
    return status, msgspec.json.encode({"error": error})


_INVALID = "invalid_request_error"
_Told = tuple[int, str, str | None, str | None, str]
"""(status, type, code, param, message)."""

_FILTERED = (
    "The response was filtered due to the prompt triggering the content management policy. "
    "Please modify your prompt and retry."
)
_SAME_FOR_ALL: Mapping[ProblemKind, _Told] = {
    ProblemKind.NO_CREDENTIAL: (
        401, _INVALID, None, None,
        "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.",
    ),
    ProblemKind.NO_QUOTA: (
        429, "insufficient_quota", "insufficient_quota", None,
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    ProblemKind.UNAVAILABLE: (
        503, "server_error", "server_is_overloaded", None,
        "The server is overloaded or not ready yet. Please try again later.",
    ),
    ProblemKind.SERVER_ERROR: (
        500, "server_error", None, None, "The server had an error while processing your request."
    ),
    ProblemKind.FILTERED: (
        400, _INVALID, "content_filter", "prompt",
        _FILTERED,
    ),
}  # fmt: skip


def _told(problem: Problem, model: str) -> _Told:
    match problem.kind:
        case ProblemKind.BAD_REQUEST:
            return 400, _INVALID, None, problem.param, problem.detail
        case ProblemKind.WRONG_CREDENTIAL:
            return 401, _INVALID, "invalid_api_key", None, _wrong_key(problem.detail)
        case ProblemKind.UNKNOWN_MODEL:
            text = f"The model `{model}` does not exist or you do not have access to it."
            return 404, _INVALID, "model_not_found", None, text
        case ProblemKind.CONTEXT_LENGTH:
            text = (
                f"This model's maximum context length is {problem.allowed} tokens. However, you "
                f"requested {problem.requested} tokens. Reduce the messages or the completion."
            )
            return 400, _INVALID, "context_length_exceeded", "messages", text
        case ProblemKind.OVER_LIMIT | ProblemKind.THROTTLED:
            kind = problem.over.kind if problem.over else "requests"
            return 429, kind, "rate_limit_exceeded", None, _rate_text(problem, model)
        case _:
            return _SAME_FOR_ALL[problem.kind]


def _wrong_key(key: str) -> str:
    """Real providers echo the key's ends; so does this one, to exercise redaction."""
    shown = f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}" if len(key) > 16 else "*" * len(key)
    return f"Incorrect API key provided: {shown}. Check the key this provider expects."


def _rate_text(problem: Problem, model: str) -> str:
    over = problem.over
    if over is None:
        wait = problem.retry_after_s
        again = f" Please try again in {duration(wait)}." if wait is not None else ""
        return f"Rate limit reached for {model} on requests per min (RPM).{again}"
    unit = {
        "requests": "requests per min (RPM)",
        "tokens": "tokens per min (TPM)",
        "in_flight": "concurrent requests",
    }[over.kind]
    figures = f"Limit {over.limit}, Used {over.used}, Requested {over.requested}."
    return f"{_reached(over, model)} on {unit}: {figures}{_again(over)}"


def _reached(over: OverLimit, model: str) -> str:
    too_large = over.kind == "tokens" and over.wait_s is None
    return f"{'Request too large' if too_large else 'Rate limit reached'} for {model}"


def _again(over: OverLimit) -> str:
    return "" if over.wait_s is None else f" Please try again in {duration(over.wait_s)}."
