"""The words by which providers tell their errors apart, as they are seen in the wild.

Codes and types are compared in lower case. Texts change between versions of a server and codes
seldom do, so texts are looked at last (`providers/errors.py`).
"""

import re
from typing import Final

QUOTA_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "billing_hard_limit_reached",
        "billing_not_active",
        "quota_exceeded",
    }
)
TOO_LONG_CODES: Final = frozenset(
    {"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"}
)
REFUSED_CODES: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
        "invalid_prompt",
        "data_inspection_failed",
    }
)
# Where a status other than 429 stands for a limit (a proxy's 403, a 503 to slow a ramp).
THROTTLE_CODES: Final = frozenset(
    {
        "slow_down",
        "rate_limit_exceeded",
        "rate_limit_error",
        "ratelimitexceeded",
        "userratelimitexceeded",
        "too_many_requests",
        "resource_exhausted",
        "throttlingexception",
    }
)
KEY_CODES: Final = frozenset({"invalid_api_key", "api_key_invalid", "authentication_error"})

QUOTA_TEXT: Final = re.compile(
    r"exceeded your current quota|credit balance is too low|insufficient (balance|credits|quota)"
    r"|spend(ing)? limit",
    re.IGNORECASE,
)
# OpenAI, vLLM old and new, llama.cpp, sglang, TGI, Google, xAI, Cohere; and the per-minute limit
# that a single request exceeds by itself ("Request too large for ..."), which waiting never mends.
TOO_LONG_TEXT: Final = re.compile(
    r"maximum context length|context length exceeded|exceeds the available context size"
    r"|longer than the (model'?s|maximum) (context|model|input) length"
    r"|maximum model length|max_model_len|context length is (only )?\d"
    r"|exceeds? the (model'?s )?(maximum )?context (length|window|size)"
    r"|prompt is too long|input is too long|request too large for"
    r"|(input|prompt)[^.]{0,60} exceed[^.]{0,60}(context|max(imum)? (input|length|tokens))"
    r"|exceeds the maximum number of tokens"
    r"|maximum prompt length|tokens in the prompt cannot exceed"
    r"|`?inputs`? (tokens \+ `?max_new_tokens`? must be <=|must have less than) \d",
    re.IGNORECASE,
)
REFUSED_TEXT: Final = re.compile(
    r"content management policy|content[_ ]filter|flagged by (our )?moderation|moderation flagged"
    r"|flagged for violating|input was flagged|content violates usage|content exists risk",
    re.IGNORECASE,
)
KEY_TEXT: Final = re.compile(
    r"(incorrect|invalid) api[ _-]?key|api[ _-]?key (is )?(not valid|invalid)", re.IGNORECASE
)
# What the model wrote was not what the request asked for (Groq): it may well be the next time.
WRITTEN_CODES: Final = frozenset({"json_validate_failed", "tool_use_failed"})
# A model that was retired, or never granted: no fault of any request (Azure, Groq, Mistral,
# Together).
GONE_CODES: Final = frozenset(
    {
        "model_not_found",
        "deploymentnotfound",
        "model_decommissioned",
        "model_not_available",
        "invalid_model",
    }
)
# OpenAI, vLLM, Ollama, xAI, Google; Groq; DeepSeek, Fireworks; OpenRouter; LiteLLM's proxy.
GONE_TEXT: Final = re.compile(
    r"\bmodels?[ /:]+(?!is |was )([`'\"][^`'\"]{1,200}[`'\"]|[^\s`'\"]{1,200}) (is |was )?"
    r"(does not exist|not found|not exist)"
    r"|\bmodel [`'\"]?[^\s`'\"]{1,200}[`'\"]? (has been|was|is) (decommissioned|retired)"
    r"|^model (not found|not exist|does not exist)\b"
    r"|is not a valid model id|\binvalid model(:| name passed in)"
    r"|^no endpoints found (for|matching your)\b|^no allowed providers are available",
    re.IGNORECASE,
)
# A base_url that leads elsewhere: FastAPI, llama.cpp, Go, Azure, Express, OpenAI, Cloudflare. What
# was not found is not said, or is a path, so a file that a request names is not among them.
ADDRESS_CODES: Final = frozenset({"not_found_error", "unknown_url"})
ADDRESS_TEXT: Final = re.compile(
    r"^(404:? *)?((page|path|route|url|endpoint|resource|the requested (url|resource)) *(was )?)?"
    r"not found\W*$|^(404 page|file) not found\W*$|^cannot post /|invalid url \(|no route for that",
    re.IGNORECASE,
)
