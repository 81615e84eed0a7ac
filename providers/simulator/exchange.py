"""What passes between a wire format and a simulated provider, neutral to the format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from providers.simulator.limits import Gauge, OverLimit


class ProblemKind(Enum):
    """Why a provider answers with an error; a wire format maps each to its status and code."""

    BAD_REQUEST = "bad_request"
    NO_CREDENTIAL = "no_credential"
    WRONG_CREDENTIAL = "wrong_credential"
    UNKNOWN_MODEL = "unknown_model"
    CONTEXT_LENGTH = "context_length"
    OVER_LIMIT = "over_limit"
    THROTTLED = "throttled"
    NO_QUOTA = "no_quota"
    SERVER_ERROR = "server_error"
    FILTERED = "filtered"
    UNAVAILABLE = "unavailable"


class Problem(msgspec.Struct, frozen=True, gc=False):
    """An error to be told to the caller. `detail` is a message, a model or a key, by kind."""

    kind: ProblemKind
    detail: str = ""
    param: str | None = None
    retry_after_s: float | None = None
    over: OverLimit | None = None
    requested: int = 0
    allowed: int = 0


class BadAskError(Exception):
    """The body is no valid request of its wire format; carries the problem to tell."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One call as read from the wire.

    `request_id` names the request in stats and draws; `key_ids` are the ids under which the
    key file may know it, best first. `text_bytes` is the UTF-8 length of all prompt text and
    `overhead` the tokens that do not depend on it; a prompt never counts more tokens than
    the body has bytes. `field` and `options` come from a one-property JSON schema.
    """

    model: str
    request_id: str
    key_ids: tuple[str, ...]
    prompt: str
    text_bytes: int
    overhead: int
    body_bytes: int
    max_tokens: int | None
    choices: int
    field: str | None = None
    options: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One choice: text, its tokens (reasoning included), whether max_tokens cut it, and whether
    the model refuses in it."""

    text: str
    tokens: int
    reasoning_tokens: int
    cut: bool
    declined: bool = False


class Completion(msgspec.Struct, frozen=True, gc=False):
    """A whole reply with its usage and its bill in nano-dollars.

    `stated_cost` is in dollars and present only where a recorded answer names its cost;
    `overstated` tokens of output are reported, but were not written."""

    token: str
    model: str
    seed: int
    answers: tuple[Answer, ...]
    prompt_tokens: int
    completion_tokens: int
    nusd: int
    stated_cost: str | None = None
    overstated: int = 0


class Levels(msgspec.Struct, frozen=True, gc=False):
    """The buckets' state that goes into reply headers; None where there is no such limit."""

    requests: Gauge | None
    tokens: Gauge | None


NO_LEVELS = Levels(None, None)


@dataclass(frozen=True, slots=True)
class Wire:
    """A wire format: pure functions between bytes and the neutral types.

    `read_ask(headers, body)` raises BadAskError; `read_credential(headers)` is the key sent;
    the writers return (status, header lines, body).
    """

    call_path: str
    models_path: str
    read_ask: Callable[[Mapping[bytes, bytes], bytes], Ask]
    read_credential: Callable[[Mapping[bytes, bytes]], str | None]
    write_completion: Callable[[Completion], bytes]
    write_problem: Callable[[Problem, str], tuple[int, bytes]]
    write_models: Callable[[list[str], int], bytes]
    head: Callable[[str, Levels, Problem | None], str]
