"""Who serves: a provider's address, its keys by reference, their limits, and how it is watched."""

import re
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from core.strict import Problem, SettingsError, Strict

_REFERENCE: Final = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*)")
_OF_SHELL: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
# A server and a path: no user and password, which logs would show, and no query.
_ADDRESS: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^?#@\s]*)?"
)
_PATH: Final = re.compile(r"/[^?#@\s]*")
_SWITCH: Final = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"}
)


def _reference(value: str, before: str = "") -> str:
    if not _REFERENCE.fullmatch(value):
        if of_shell := _OF_SHELL.fullmatch(value):
            # The name of a variable, and no secret.
            fix = f"Write {before}env:{of_shell[1]}"
        else:
            fix = (
                f"Put the key in the environment and write {before}env:NAME, "
                f"or in a file and write {before}file:/path"
            )
        raise SettingsError(Problem((), "is not a reference to a key", fix))
    return value


class LimitSettings(Strict):
    """Requests and tokens per minute, and calls at once. Tokens are counted together (`tpm`),
    or input and output apart where the provider does so. What is not declared is not limited:
    for a deployment, it is learnt from what the provider says and from its 429s."""

    rpm: int | None = Field(default=None, gt=0)
    tpm: int | None = Field(default=None, gt=0)
    input_tpm: int | None = Field(default=None, gt=0)
    output_tpm: int | None = Field(default=None, gt=0)
    in_flight: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _counts_tokens_one_way(self) -> "LimitSettings":
        apart = [name for name in ("input_tpm", "output_tpm") if getattr(self, name) is not None]
        if self.tpm is not None and apart:
            fix = (
                "Keep tpm where the provider counts all tokens together, or input_tpm and "
                "output_tpm where it counts them apart"
            )
            raise SettingsError(Problem(("tpm",), f"stands beside {' and '.join(apart)}", fix))
        return self


class KeySettings(Strict):
    """One of a provider's keys, by reference, and what its account allows over all models
    together."""

    key: str
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="before")
    @classmethod
    def _is_short_for_a_key(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"key": value}
        if isinstance(value, dict):
            return value
        fix = "Write env:NAME or file:/path, or {key: env:NAME, limits: {rpm: 500}}"
        raise SettingsError(Problem((), "is not a key", fix))

    @field_validator("key")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        return _reference(value)


class HealthSettings(Strict):
    """How a server of your own is watched: with a GET, without a key, every so many seconds.
    `path` is the path on the server, such as /health; without one it is `/models` below the
    `base_url`. `true` and `false` are short for `{on: true}` and `{on: false}`."""

    on: bool = True
    path: str | None = None
    every: float = Field(default=10.0, ge=1, le=3600)

    @model_validator(mode="before")
    @classmethod
    def _is_on_or_off(cls, value: Any) -> Any:
        on = _SWITCH.get(value.lower()) if isinstance(value, str) else value
        if isinstance(on, bool):
            return {"on": on}
        if isinstance(value, dict):
            return value
        fix = "Write true or false, or {path: /health, every: 10}"
        raise SettingsError(Problem((), "does not say whether to watch", fix))

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, value: str | None) -> str | None:
        if value is None or _PATH.fullmatch(value):
            return value
        fix = "Write what follows the server's address, e.g. /health, without ?, # and @"
        raise SettingsError(Problem((), "is not a path on the server", fix))


class ProviderSettings(Strict):
    """Who serves. `simulator` and `local` are started by `batchyard up` itself, unless a
    `base_url` says where one listens already.

    `base_url` is what stands before `/chat/completions`; without one, kind `openai` is
    OpenAI itself. `api_key` is a reference: `env:NAME` or `file:/path`. `keys` are several of
    them, of which each makes a line of every deployment. `timeout` is in seconds for a whole
    call. `headers` go with every call and hold no secret. A key is sent
    over plain http only to this machine, or where `plain_http` allows it. `profile` is what
    a simulator simulates. `quota_wait` (seconds) is how long a used-up quota parks a deployment
    where the provider names no time. `health` watches a server of your own; `local` ones are
    watched unless it is false.
    """

    kind: Literal["openai", "simulator", "local"] = "openai"
    base_url: str | None = None
    api_key: str | None = None
    keys: list[KeySettings] | None = Field(default=None, min_length=1)
    timeout: float = Field(default=120.0, gt=0, le=900)
    headers: dict[str, str] = Field(default_factory=dict)
    plain_http: bool = False
    profile: dict[str, Any] = Field(default_factory=dict)
    quota_wait: float = Field(default=600.0, gt=0, le=86_400)
    health: HealthSettings | None = None

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _ADDRESS.fullmatch(value):
            fix = "Write e.g. https://host:8000/v1, without user, password and query"
            raise SettingsError(Problem((), "is not an address of a server", fix))
        if value.rstrip("/").endswith("/chat/completions"):
            raise SettingsError(
                Problem((), "names a single endpoint", "Leave /chat/completions off")
            )
        return value.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _is_a_reference(cls, value: str | None) -> str | None:
        return None if value is None else _reference(value, "api_key: ")

    @model_validator(mode="after")
    def _has_each_key_once(self) -> "ProviderSettings":
        if self.keys and self.api_key is not None:
            fix = "List all of them under keys"
            raise SettingsError(Problem(("api_key",), "stands beside keys", fix))
        seen: set[str] = set()
        for position, one in enumerate(self.keys or ()):
            if one.key in seen:
                place = ("keys", position)
                raise SettingsError(Problem(place, "is there already", "Name each key once"))
            seen.add(one.key)
        return self

    @property
    def _is_openai_itself(self) -> bool:
        return self.kind == "openai" and self.base_url is None

    @property
    def watch(self) -> HealthSettings | None:
        """How its server is watched; None where it is not."""
        if self.health is None:
            return HealthSettings() if self.kind == "local" else None
        return self.health if self.health.on else None

    @property
    def references(self) -> tuple[str, ...]:
        """Where its keys are found; empty for a provider that needs none."""
        if self.api_key is not None:
            return (self.api_key,)
        return tuple(one.key for one in self.keys or ())

    @field_validator("headers")
    @classmethod
    def _headers_hold_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name.lower() in _CREDENTIAL_HEADERS:
                raise SettingsError(
                    Problem((name,), "carries a credential", "Use api_key: env:NAME instead")
                )
            if not _HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
                raise SettingsError(
                    Problem((name,), "cannot be sent as a header", "Use plain ASCII on one line")
                )
        return value

    @model_validator(mode="after")
    def _watches_and_simulates_what_it_may(self) -> "ProviderSettings":
        if self.health is not None and self.health.on and self._is_openai_itself:
            fix = "Leave it out: it is for servers of your own, which have a base_url"
            raise SettingsError(Problem(("health",), "would watch OpenAI itself", fix))
        if self.profile and self.kind != "simulator":
            raise SettingsError(
                Problem(("profile",), "only a simulator has a profile", "Use kind: simulator")
            )
        return self
