"""What an answer is worth beside the right one, from 0 to 1.

A scorer is a function `(answer, gold) -> float`. `scorer_of` finds one by what people write:

    exact                    the same text, but for case, spaces, quotes and a final full stop,
                             or the same number
    choice                   a letter: `B`, `(b)`, `The answer is B.`, `\\boxed{B}`
    choice:spam,not spam     one of these words, alone or found in the answer
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from core.errors import InputError

Scorer = Callable[[str, str], float]

EXACT: Final = "exact"
CHOICE: Final = "choice"
MOST_OPTIONS: Final = 1000

_AROUND: Final = " \t\r\n\"'`*_.,;:!“”‘’«»"
_NUMBER: Final = re.compile(r"[-+]?[$€£]?\s?\d[\d,]*(\.\d+)?\s?%?")
_LETTERS: Final = "A-J"
_SAID: Final = r"(?:answer|option|choice|correct|boxed)\b[^\w\n]{0,6}(?:is|was|be|to)?[^\w\n]{0,6}"
_LETTER_SAID: Final = re.compile(
    rf"{_SAID}(?:(?:option|choice|answer)[^\w\n]{{0,4}})?([{_LETTERS}])\b", re.IGNORECASE
)
_LETTER_ALONE: Final = re.compile(rf"[^\w]*(?:option\s+)?([{_LETTERS}])[^\w]*", re.IGNORECASE)
_LETTER_FIRST: Final = re.compile(rf"[^\w]*([{_LETTERS}])[).:\]*]")
# "A plum" and "I think" name no letter.
_LETTER_ANYWHERE: Final = re.compile(rf"(?<![\w'’])([{_LETTERS}])(?![\w'’])(?<![AI](?= [a-z]))")


def scorer_of(written: str) -> Scorer:
    """The scorer that is meant. Raises InputError with those that there are."""
    name, sign, rest = written.partition(":")
    options = tuple(dict.fromkeys(o.strip() for o in rest.split(",") if o.strip()))
    if name == EXACT and not sign:
        return exact
    if name == CHOICE and not sign:
        return choice
    if name == CHOICE and 2 <= len(options) <= MOST_OPTIONS:
        return _Options(options)
    raise InputError(
        f"{written!r} is no scorer. There is exact, choice for letters, and "
        "choice:spam,not spam for one of some words"
    )


def check_gold(written: str, gold: str) -> str | None:
    """What is wrong with a right answer for the scorer that `written` names; None is nothing."""
    name, _, rest = written.partition(":")
    if name != CHOICE:
        return None
    if not rest:
        ok = letter(gold) is not None and len(plain(gold)) <= 3
        return None if ok else f"{gold!r} is no letter. Write the options: --scorer choice:a,b,c"
    options = [plain(option) for option in rest.split(",")]
    return None if plain(gold) in options else f"{gold!r} is none of the options of --scorer"


def exact(answer: str, gold: str) -> float:
    """1 for the same text or number, else 0."""
    said, right = plain(answer), plain(gold)
    if said == right:
        return 1.0
    number = _number(said)
    return float(number is not None and number == _number(right))


def choice(answer: str, gold: str) -> float:
    """1 where the answer settles on the gold's letter, else 0."""
    found = letter(answer)
    return float(found is not None and found == letter(gold))


def plain(text: str) -> str:
    """Without what does not count: case, forms of letters, quotes, marks and spaces around it,
    double spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.strip(_AROUND).split())


def letter(answer: str) -> str | None:
    """The letter A to J that an answer settles on; None where it does not.

    In this order: the whole answer; the last that is called the answer; its last line, its
    first line; what it begins with (`B) …`); the only letter that stands alone in it.
    """
    text = unicodedata.normalize("NFKC", answer).strip()
    if whole := _LETTER_ALONE.fullmatch(text):
        return whole[1].upper()
    said = [one for one in _LETTER_SAID.findall(text) if one.isupper() or one not in "ai"]
    if said:
        return str(said[-1]).upper()
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (lines[-1:] + lines[:1]) if lines else ():
        if alone := _LETTER_ALONE.fullmatch(line):
            return alone[1].upper()
    if first := _LETTER_FIRST.match(text):
        return first[1].upper()
    named = set(_LETTER_ANYWHERE.findall(text))
    return named.pop() if len(named) == 1 else None


class _Options:
    """Answers that are one of some words."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = [plain(option) for option in options]
        # The longest first: in "not spam" nobody says "spam".
        ranked = sorted(self._options, key=len, reverse=True)
        either = "|".join(re.escape(option) for option in ranked)
        self._anywhere = re.compile(rf"(?<!\w)(?:{either})(?!\w)")
        self._said = re.compile(rf"{_SAID}({either})(?!\w)")

    def __call__(self, answer: str, gold: str) -> float:
        found = self._found(plain(answer))
        return float(found is not None and found == plain(gold))

    def _found(self, answer: str) -> str | None:
        """The option that is the answer, the last that is called so, the only one in it."""
        if answer in self._options:
            return answer
        said = self._said.findall(answer)
        if said:
            return str(said[-1])
        named = set(self._anywhere.findall(answer))
        return str(named.pop()) if len(named) == 1 else None


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    digits = re.sub(r"[^\d.+-]", "", text)
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return None
    return number / 100 if text.endswith("%") else number
