"""What a simulated provider is: its models, limits, latency, faults and answers.

A profile is plain data, loaded from a dict, or from a JSON or YAML file:

    seed: 7
    latency: {kind: lognormal, ms: 120, sigma: 0.4, per_output_token_ms: 2}
    limits: {rpm: 6000, tpm: 2000000, in_flight: 400}
    faults: {p_429: 0.1, p_reset: 0.02, outages: [{start_s: 9, duration_s: 60}]}
    key_file: answers.jsonl
    models:
      mini: {accuracy: 0.93, price: {input_per_mtok: 0.25, output_per_mtok: 2}, context: 8192}

A file holds one profile, or several under `providers:` by name.
"""

import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml

from core.errors import ConfigError
from providers.yaml_text import load_yaml

ANY_MODEL = "*"
MAX_PRICE_DIGITS = 9

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything a profile is made of: frozen, and strict about field names."""


class Latency(Spec, frozen=True):
    """Time to answer: `ms` is the value (fixed) or the median (lognormal), in milliseconds."""

    kind: Literal["fixed", "lognormal"] = "fixed"
    ms: NotNegative = 0.0
    sigma: NotNegative = 0.5
    per_output_token_ms: NotNegative = 0.0


class Limits(Spec, frozen=True):
    """Enforced rates; None is no limit. `burst_s`: what a full bucket holds, in seconds of rate.
    `told`: whether replies say in their headers what the limits are and what is left. `slots` are
    calls worked on at once: nothing is refused for them, but what is more waits for its turn."""

    rpm: Positive | None = None
    tpm: Positive | None = None
    in_flight: AtLeastOne | None = None
    slots: AtLeastOne | None = None
    burst_s: Positive = 2.0
    told: bool = True


class Outage(Spec, frozen=True):
    """A window, in seconds since the faults clock began, in which every call fails one way."""

    start_s: NotNegative
    duration_s: Positive
    kind: Literal["error", "reset", "hang"] = "error"


class Faults(Spec, frozen=True):
    """Shares of the calls that fail, each call in at most one way.

    `p_empty`, `p_truncated` and `p_garbled` are whole answers that are no good: without text,
    ended in the middle by the output limit, or with their last quarter missing although they
    claim to be whole (JSON that does not parse). They are billed like the answer they spoil.
    `p_overstated` answers are good, but `overstated_by` output tokens more are reported than
    were written and billed.
    `retry_after_ms` is sent with injected 429s and 503s (None: no such header).
    `p_refused` are calls that the provider's content filter turns away with a 400, unbilled;
    `p_declined` are answers in which the model refuses, billed like any other.
    `reset_billed` and `hang_billed` are the shares of resets and hangs that are billed:
    a billed reset comes after the answer's latency, an unbilled one at once.
    """

    p_429: Share = 0.0
    p_500: Share = 0.0
    p_503: Share = 0.0
    p_reset: Share = 0.0
    p_hang: Share = 0.0
    p_malformed: Share = 0.0
    p_slow: Share = 0.0
    p_empty: Share = 0.0
    p_truncated: Share = 0.0
    p_garbled: Share = 0.0
    p_refused: Share = 0.0
    p_declined: Share = 0.0
    p_overstated: Share = 0.0
    overstated_by: Count = 2_000_000_000
    retry_after_ms: Count | None = 500
    reset_billed: Share = 0.5
    hang_billed: Share = 0.0
    slow_factor: Annotated[float, msgspec.Meta(ge=1.0)] = 10.0
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        total = sum(share for _, share in self.shares())
        if total > 1.0 + 1e-9:
            raise ValueError(f"the p_ shares add up to {total:g}; lower them to 1 at most")

    def shares(self) -> tuple[tuple[str, float], ...]:
        """(kind, probability) in the fixed order in which one draw decides between them."""
        return (
            ("429", self.p_429),
            ("500", self.p_500),
            ("503", self.p_503),
            ("reset", self.p_reset),
            ("hang", self.p_hang),
            ("malformed", self.p_malformed),
            ("slow", self.p_slow),
            ("empty", self.p_empty),
            ("truncated", self.p_truncated),
            ("garbled", self.p_garbled),
            ("refused", self.p_refused),
            ("declined", self.p_declined),
            ("overstated", self.p_overstated),
        )


class PriceSpec(Spec, frozen=True):
    """Dollars per million tokens."""

    input_per_mtok: Decimal = Decimal(0)
    output_per_mtok: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        for amount in (self.input_per_mtok, self.output_per_mtok):
            if not amount.is_finite() or amount < 0:
                raise ValueError(f"price {amount} must be zero or more dollars per million tokens")
            exponent = amount.as_tuple().exponent
            if isinstance(exponent, int) and -exponent > MAX_PRICE_DIGITS:
                raise ValueError(f"price {amount} has more than {MAX_PRICE_DIGITS} decimals")


class Model(Spec, frozen=True):
    """One served model.

    `accuracy` is the share of key-file answers given right. `output_tokens` is the length of
    an answer made up where no key file knows the request; `reasoning_tokens` are billed on
    top of every answer. A text of n UTF-8 bytes counts ceil(n / bytes_per_token) tokens.
    `limits`, where given, are this model's own buckets instead of the provider's shared ones.
    """

    accuracy: Share = 1.0
    price: PriceSpec = PriceSpec()
    output_tokens: AtLeastOne = 16
    reasoning_tokens: Count = 0
    context: AtLeastOne = 128_000
    bytes_per_token: Annotated[float, msgspec.Meta(ge=1.0)] = 4.0
    limits: Limits | None = None


class Replay(Spec, frozen=True):
    """A recorded answer of one model; `cost` in dollars overrides the price."""

    text: str
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cost: Decimal | None = None

    def __post_init__(self) -> None:
        if self.cost is not None and not (self.cost.is_finite() and self.cost >= 0):
            raise ValueError(f"cost {self.cost} must be zero or more dollars")


class KeyEntry(Spec, frozen=True):
    """What the key file knows of one request: the right answer and what may be mistaken for it."""

    answer: str | None = None
    choices: tuple[str, ...] = ()
    by_model: dict[str, Replay] = {}

    def __post_init__(self) -> None:
        if self.answer is None and not self.by_model:
            raise ValueError("give `answer`, or `by_model` with recorded answers")


class Profile(Spec, frozen=True):
    """One simulated provider. A model named `*` serves every name not listed.

    `credential`: the API key to expect, or several (None: any key or none is welcome).
    `insufficient_quota`: every call is told that its quota is used up, and where `quota_reset_s`
    is given, when to come back.
    `answers`: key entries given in place; `key_file`: a path to more of them.
    """

    seed: int = 0
    latency: Latency = Latency()
    limits: Limits = Limits()
    faults: Faults = Faults()
    credential: str | tuple[str, ...] | None = None
    insufficient_quota: bool = False
    quota_reset_s: Positive | None = None
    models: dict[str, Model] = msgspec.field(default_factory=lambda: {ANY_MODEL: Model()})
    key_file: str | None = None
    answers: dict[str, KeyEntry] = {}

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models is empty; name one, or leave it out to serve any name")
        if not all(self.credentials):
            raise ValueError("credential is empty; leave it out to accept any key")

    @property
    def credentials(self) -> tuple[str, ...]:
        """The keys that are let in; empty where nobody is asked for one."""
        one = self.credential
        return () if one is None else (one,) if isinstance(one, str) else one


SpecT = TypeVar("SpecT", bound=Spec)
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")


def convert(data: object, spec: type[SpecT], where: str) -> SpecT:
    """`data` as `spec`. Raises ConfigError naming the field's path under `where` and the fix."""
    try:
        return msgspec.convert(data, spec)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), spec, where)) from error


def _explain(message: str, spec: type[Spec], where: str) -> str:
    match = _PATH.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    place = f"{where}{path}".strip(".") or "profile"
    unknown = _UNKNOWN.search(what)
    if not unknown:
        return f"{place}: {what[:1].lower()}{what[1:]}. Correct this field of the simulator profile"
    name, known = unknown["name"], _fields_at(spec, path)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Use one of: {', '.join(known)}"
    return f"{f'{where}{path}.{name}'.strip('.')}: unknown field. {hint}"


def _fields_at(spec: type[Spec], path: str) -> list[str]:
    """Field names of the struct that `path` (`.faults.outages[0]`) leads to inside `spec`."""
    here: Any = spec
    for step in re.findall(r"\w+", path):
        if step.isdigit() or here is None:
            continue
        kind = next((f.type for f in msgspec.structs.fields(here) if f.name == step), None)
        here = _struct_in(kind)
    return [] if here is None else [field.name for field in msgspec.structs.fields(here)]


def _struct_in(kind: Any) -> type[Spec] | None:
    """The struct in a field's type: itself, or inside Optional, dict or tuple."""
    if isinstance(kind, type) and issubclass(kind, Spec):
        return kind
    inner = (_struct_in(part) for part in getattr(kind, "__args__", ()))
    return next((struct for struct in inner if struct is not None), None)


def load_profile(data: Mapping[str, object], *, where: str = "") -> Profile:
    """A profile from a parsed dict; an answer may be a bare string.

    Raises ConfigError that names the bad field as `where.field` and the fix.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where or 'profile'}: expected a mapping of fields, see `models:`")
    given = dict(data)
    dot = f"{where}." if where else ""
    # Entry by entry, because a message about a whole dict does not say which entry is bad.
    for field, spec in (("models", Model), ("answers", KeyEntry)):
        entries = given.get(field)
        if isinstance(entries, Mapping):
            given[field] = {
                name: convert(_entry(value, spec), spec, f"{dot}{field}.{name}")
                for name, value in entries.items()
            }
    return convert(given, Profile, where)


def _entry(value: object, spec: type[Spec]) -> object:
    return {"answer": value} if spec is KeyEntry and isinstance(value, str) else value


def load_profiles(path: str | Path) -> dict[str, Profile]:
    """Profiles by provider name from a YAML or JSON file; a single one has the name "".

    A relative `key_file` is taken from the file's own folder. Raises ConfigError.
    """
    file = Path(path)
    try:
        data = load_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the simulator profile {file}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is neither YAML nor JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected a profile, or `providers:` with one per name")
    if "providers" not in data:
        return {"": _anchored(load_profile(data), file.parent)}
    named = data["providers"]
    extra = sorted(str(key) for key in data if key != "providers")
    if not isinstance(named, dict) or not named or extra:
        raise ConfigError(
            f"{file}: `providers:` must hold a profile per name and stand alone"
            + (f"; move {', '.join(extra)} into a provider" if extra else "")
        )
    return {
        str(name): _anchored(load_profile(one, where=f"providers.{name}"), file.parent)
        for name, one in named.items()
    }


def _anchored(profile: Profile, folder: Path) -> Profile:
    if profile.key_file is None:
        return profile
    return msgspec.structs.replace(profile, key_file=str(folder / profile.key_file))
