"""What a simulated model says: answers from a key file, or made up; always the same.

An answer depends on the seed, the provider's name, the model, the request's id and the choice
number, so it is the same for every attempt and in any order of calls.
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from core.errors import ConfigError
from core.money import to_nusd, usd_text
from providers.simulator.exchange import Answer, Ask, Completion
from providers.simulator.profile import ANY_MODEL, KeyEntry, Model, Profile, Replay, convert

_WORDS = struct.Struct("<2Q")
_UNIT = 2.0**-64
REFUSAL = "I'm sorry, but I can't help with that."
_SYLLABLES = "ab al ba be da do el en fa fo ga ge ha he il in ja jo ka ke la lo ma me".split()
# Every word with its blank is four bytes: one token at the default four bytes per token.
_POOL = " ".join(a + b[0] for a in _SYLLABLES for b in _SYLLABLES for _ in range(4))


class Key:
    """The key entries of one provider, and every answer seen as the common list of choices."""

    def __init__(self, entries: Mapping[str, KeyEntry]) -> None:
        self.entries = entries
        self.choices = tuple(sorted({e.answer for e in entries.values() if e.answer is not None}))

    def find(self, ids: tuple[str, ...]) -> tuple[str, KeyEntry] | None:
        """The first of `ids` that the key knows, with its entry."""
        for one in ids:
            entry = self.entries.get(one)
            if entry is not None:
                return one, entry
        return None


def load_key(profile: Profile) -> Key:
    """The profile's key file and the entries given in place, which win.

    A key file is JSONL with `id` and the fields of KeyEntry on each line, or one JSON object
    of id to entry or bare answer. Raises ConfigError naming the line or id.
    """
    if profile.key_file is None:
        return Key(profile.answers)
    file = Path(profile.key_file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"key_file: cannot read {file}: {error}") from error
    entries = _from_object(text, file) if file.suffix == ".json" else _from_lines(text, file)
    return Key({**entries, **profile.answers})


def _from_object(text: str, file: Path) -> dict[str, KeyEntry]:
    data = _decode(text, f"{file.name}")
    return {name: _entry(value, f"{file.name}: {name}") for name, value in data.items()}


def _from_lines(text: str, file: Path) -> dict[str, KeyEntry]:
    entries: dict[str, KeyEntry] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file.name} line {number}"
        data = _decode(line, where)
        name = data.pop("id", None)
        if not isinstance(name, str):
            raise ConfigError(f'{where}: give the request\'s id as a string: {{"id": "…", …}}')
        if name in entries:
            raise ConfigError(f"{where}: id {name!r} stands twice; keep one line per id")
        entries[name] = _entry(data, where)
    return entries


def _decode(text: str, where: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{where}: not a JSON object ({error}). A key file is JSONL") from error


def _entry(value: object, where: str) -> KeyEntry:
    return convert({"answer": value} if isinstance(value, str) else value, KeyEntry, where)


class Answerer:
    """Answers, usage and bills of one provider."""

    def __init__(self, name: str, profile: Profile, key: Key) -> None:
        self._name = name
        self._seed = profile.seed
        self._key = key
        # Nano-dollars per million tokens are whole numbers: a price has at most nine decimals.
        self._prices = {
            name: (to_nusd(one.price.input_per_mtok), to_nusd(one.price.output_per_mtok))
            for name, one in profile.models.items()
        }

    def prompt_tokens(self, ask: Ask, model: Model) -> int:
        """ceil(text bytes / bytes per token) + overhead, at most the bytes of the body."""
        counted = math.ceil(ask.text_bytes / model.bytes_per_token) + ask.overhead
        return min(ask.body_bytes, counted)

    def complete(self, ask: Ask, model: Model, prompt_tokens: int, token: str) -> Completion:
        """The reply to `ask`, whole."""
        found = self._key.find(ask.key_ids)
        if found is not None and ask.model in found[1].by_model:
            replay = found[1].by_model[ask.model]
            return self._replay(ask, model, replay, prompt_tokens, token)
        if ask.choices == 1:
            answer = self._cut(self._text(ask, model, found, 0), ask, model)
            answers: tuple[Answer, ...] = (answer,)
            written = answer.tokens
        else:
            texts = (self._text(ask, model, found, number) for number in range(ask.choices))
            answers = tuple(self._cut(text, ask, model) for text in texts)
            written = sum(answer.tokens for answer in answers)
        nusd = self._nusd(ask.model, prompt_tokens, written)
        return Completion(token, ask.model, self._seed, answers, prompt_tokens, written, nusd)

    def _nusd(self, model: str, prompt_tokens: int, completion_tokens: int) -> int:
        """The same figure as core.money.Price.cost, in integers."""
        per_input, per_output = self._prices.get(model) or self._prices[ANY_MODEL]
        scaled = per_input * prompt_tokens + per_output * completion_tokens
        return -(-scaled // 1_000_000)

    def _text(self, ask: Ask, model: Model, found: tuple[str, KeyEntry] | None, number: int) -> str:
        name = found[0] if found else ask.prompt
        seed = f"{self._seed}\0{self._name}\0{ask.model}\0{number}\0{name}"
        digest = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        first, second = _WORDS.unpack(digest)
        if found is not None and found[1].answer is not None:
            text = self._choose(found[1], first * _UNIT < model.accuracy, second)
        elif ask.options:
            text = ask.options[second % len(ask.options)]
        else:
            size = int(model.output_tokens * model.bytes_per_token)
            text = _made_up(digest.hex()[:11], second, size)
        if ask.field is not None:
            return msgspec.json.encode({ask.field: text}).decode()
        return text

    def _choose(self, entry: KeyEntry, right: bool, number: int) -> str:
        answer = entry.answer or ""
        if right:
            return answer
        choices = entry.choices or self._key.choices
        wrong = [choice for choice in choices if choice != answer]
        return wrong[number % len(wrong)] if wrong else f"not {answer}"

    def _cut(self, text: str, ask: Ask, model: Model) -> Answer:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        tokens = max(1, math.ceil(size / model.bytes_per_token)) + model.reasoning_tokens
        if ask.max_tokens is None or tokens <= ask.max_tokens:
            return Answer(text, tokens, model.reasoning_tokens, False)
        thought = min(model.reasoning_tokens, ask.max_tokens)
        kept = int((ask.max_tokens - thought) * model.bytes_per_token)
        short = text.encode("utf-8", "surrogatepass")[:kept].decode("utf-8", "ignore")
        return Answer(short, ask.max_tokens, thought, True)

    def _replay(
        self, ask: Ask, model: Model, replay: Replay, prompt_tokens: int, token: str
    ) -> Completion:
        text, written = replay.text, replay.completion_tokens
        if written is None:
            written = max(1, math.ceil(len(text.encode()) / model.bytes_per_token))
        cut = ask.max_tokens is not None and written > ask.max_tokens
        if cut and ask.max_tokens is not None:
            text = text[: len(text) * ask.max_tokens // written]
            written = ask.max_tokens
        prompt = prompt_tokens if replay.prompt_tokens is None else replay.prompt_tokens
        total = written * ask.choices
        if replay.cost is None:
            nusd, stated = self._nusd(ask.model, prompt, total), None
        else:
            nusd = to_nusd(replay.cost * ask.choices)
            stated = usd_text(nusd)
        answers = (Answer(text, written, 0, cut),) * ask.choices
        return Completion(token, ask.model, self._seed, answers, prompt, total, nusd, stated)


def spoiled(reply: Completion, fault: str, overstated_by: int) -> Completion:
    """The reply with the fault `empty`, `truncated`, `garbled` or `declined` in all of its answers,
    or `overstated` in its usage; as it is for any other."""
    if fault == "overstated":
        return msgspec.structs.replace(reply, overstated=overstated_by)
    if fault not in ("empty", "truncated", "garbled", "declined"):
        return reply
    answers = tuple(_spoil(answer, fault) for answer in reply.answers)
    return msgspec.structs.replace(reply, answers=answers)


def _spoil(answer: Answer, fault: str) -> Answer:
    size = len(answer.text)
    if fault == "empty":
        return msgspec.structs.replace(answer, text="")
    if fault == "declined":
        return msgspec.structs.replace(answer, text=REFUSAL, cut=False, declined=True)
    if fault == "truncated":
        return msgspec.structs.replace(answer, text=answer.text[: size // 2], cut=True)
    return msgspec.structs.replace(answer, text=answer.text[: size - max(1, size // 4)])


def _made_up(mark: str, number: int, size: int) -> str:
    """`size` bytes of text that starts with its own mark, so that mixed-up replies show."""
    start = (number % (len(_POOL) // 4)) * 4
    text = f"{mark} {_POOL[start : start + size]}"
    while len(text) < size:
        text = f"{text} {_POOL}"
    return text[:size]
