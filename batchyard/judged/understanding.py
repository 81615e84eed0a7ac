"""Training and measuring what tells intents apart, on tables and on operators' intents files."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from batchyard.judged.recognise import TEXTS
from batchyard.judged.tables import Table, name_rows, read_table, rows_of, take_rows
from core.errors import InputError
from core.intents import IntentFile
from providers.config_problems import problems_of
from providers.intent_files import read_intents
from routing.measuring.drift import INTENT, portrait
from routing.measuring.intent import measure_intents
from routing.models.encoder import WORDS
from routing.models.intent import IntentModel
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.encoders.find import find_encoder

LABELS: Final = ("label", "intent", "category", "class")
OUTSIDE: Final = ("oos", "out_of_scope", "out-of-scope", "none")
"""Labels of prompts without an intent."""
HELD_BACK: Final = ("val", "valid", "validation", "dev", "calibration")
LEFT_OUT: Final = ("test", "held_out", "held-out", "heldout")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a model of intents is made from: a table, an intents file, or both; a table of
    prompts held back for saying how sure it is; the name of an encoder. `labels` prompts are
    drawn evenly over the intents by a seed (0: all)."""

    data: Path | None = None
    file: Path | None = None
    calibration: Path | None = None
    encoder: str = WORDS
    text: str = ""
    labels: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A table's examples by the part of the data that they are in."""

    train: Examples
    held: Examples = field(default_factory=lambda: Examples((), ()))


def train_from(sources: Sources) -> tuple[IntentModel, tuple[str, ...]]:
    """A model, and lines for people on what it was made from. Raises InputError."""
    if sources.data is None and sources.file is None:
        raise InputError("Intents come from --data, a table, or --intents, a file of them.")
    file = None if sources.file is None else read_intents(sources.file)
    found = _Found(_of_file(file))
    if sources.data is not None:
        table = read_table(sources.data)
        _all_labelled(table, sources.data, _used(table))
        table = _sampled(table, sources)
        found = _parts(table, sources.text, found.train)
    if sources.labels:
        found = _Found(found.train)
    if sources.calibration is not None:
        table = read_table(sources.calibration)
        _all_labelled(table, sources.calibration, range(rows_of(table)))
        found = replace(found, held=_examples(table, sources.text))
    began = time.process_time()
    encoder = find_encoder(sources.encoder)
    data = IntentData(
        train=found.train,
        calibration=found.held if len(found.held) else None,
        file=_whole(file, found.train),
    )
    try:
        model = train_intents(data, encoder, sources.seed)
    except ValueError as error:
        raise InputError(
            f"Nothing to train on: {error}. Give two intents or more, with 5 to 20 examples each."
        ) from error
    told = [{INTENT: label} for label in found.train.labels]
    info = {
        **model.info,
        "cpu_s": round(time.process_time() - began, 2),
        "portrait": portrait(found.train.texts, told, [INTENT]),
    }
    return replace(model, info=info), _lines(model)


def _lines(model: IntentModel) -> tuple[str, ...]:
    info = model.info
    held = f"{info['calibration']} prompts ({info['calibrated_by']})"
    return (
        f"{info['intents']} intents, {info['examples']} examples",
        f"out of scope: {info['out_of_scope']}{_found(info)}",
        f"how sure to be: learned by {held}, {info['accuracy']:.3f} of them rightly named",
    )


def _found(info: Mapping[str, Any]) -> str:
    found = info.get("out_of_scope_found")
    if found is None:
        return ""
    return f", {found:.0%} of them found; and {info['lost']:.0%} of the prompts with an intent"


def examine(model: IntentModel, table: Table, text: str, level: float) -> dict[str, Any]:
    """How well the model does on a table of prompts, as one JSON object. Raises InputError."""
    _all_labelled(table, "the data", range(rows_of(table)))
    rows = _rows(table, text)
    texts = [prompt for prompt, _ in rows]
    began = time.process_time()
    told = model.predict(texts)
    spent = max(time.process_time() - began, 1e-9)
    try:
        figures = measure_intents(told, [label for _, label in rows], level)
    except ValueError as error:
        raise InputError(f"Nothing to measure: {error}.") from error
    return {**figures, "prompts_per_cpu_s": round(len(texts) / spent, 1)}


def _of_file(file: IntentFile | None) -> Examples:
    pairs = [
        (text, name)
        for name, one in (file.intents if file else {}).items()
        for text in one.examples
    ]
    outside = file.out_of_scope if file else ()
    return Examples([text for text, _ in pairs], [name for _, name in pairs], outside)


def _whole(file: IntentFile | None, examples: Examples) -> IntentFile:
    """What operators have said, and an empty word for each other intent. Raises InputError."""
    said: Mapping[str, Any] = file.intents if file else {}
    missing = sorted(set(said) - set(examples.labels))
    if missing:
        raise InputError(f"There are no examples of {', '.join(missing[:5])}. Give 5 to 20 each.")
    if not examples.labels:
        raise InputError(
            "All examples are out of scope. Name an intent for each in the column label."
        )
    try:
        return IntentFile.model_validate(
            {"intents": {name: said.get(name, {}) for name in sorted(set(examples.labels))}}
        )
    except ValidationError as error:
        told = "; ".join(f"{one.problem}. {one.fix}" for one in problems_of(error))
        raise InputError(f"The labels are no names of intents: {told}") from error


def _parts(table: Table, text: str, also: Examples) -> _Found:
    """By the column `split`, where there is one: what is held back, and what is a test's."""
    splits = [str(value).lower() for value in table.get("split", ())]
    if not splits:
        return _Found(_joined(also, _examples(table, text)))
    rows = range(len(splits))
    held = [row for row in rows if splits[row] in HELD_BACK]
    train = [row for row in rows if splits[row] not in (*HELD_BACK, *LEFT_OUT)]
    return _Found(
        _joined(also, _examples(take_rows(table, train), text)),
        _examples(take_rows(table, held), text),
    )


def _joined(one: Examples, other: Examples) -> Examples:
    return Examples(
        [*one.texts, *other.texts], [*one.labels, *other.labels], [*one.outside, *other.outside]
    )


def _examples(table: Table, text: str) -> Examples:
    rows = _rows(table, text)
    known = [(prompt, label) for prompt, label in rows if label is not None]
    return Examples(
        [prompt for prompt, _ in known],
        [label for _, label in known],
        [prompt for prompt, label in rows if label is None],
    )


def _rows(table: Table, text: str) -> list[tuple[str, str | None]]:
    """Each prompt with its intent, None where it has none."""
    prompts = table[_column(table, (text,) if text else TEXTS, "prompts", "--text NAME")]
    labels = table[_labels(table)]
    return [
        ("" if prompt is None else str(prompt), _label(label))
        for prompt, label in zip(prompts, labels, strict=True)
    ]


def _label(value: object) -> str | None:
    name = str(value).strip()
    return None if name.lower() in OUTSIDE else name


def _used(table: Table) -> Sequence[int]:
    """The rows that are not left for a test."""
    splits = [str(value).lower() for value in table.get("split", ())]
    return [row for row in range(rows_of(table)) if not (splits and splits[row] in LEFT_OUT)]


def _all_labelled(table: Table, where: object, rows: Sequence[int]) -> None:
    """A label that is missing is a mistake more often than a prompt without an intent. Raises
    InputError."""
    column = _labels(table)
    values = table[column]
    bare = [row for row in rows if values[row] is None or not str(values[row]).strip()]
    if bare:
        raise InputError(
            f"{where}: {column} is empty in {name_rows(bare)}. Write {OUTSIDE[0]} where a prompt "
            "has none of the intents, and leave out rows that nobody has labelled."
        )


def _labels(table: Table) -> str:
    return _column(table, LABELS, "intents", f"Call it {LABELS[0]}")


def _column(table: Table, names: Sequence[str], what: str, remedy: str) -> str:
    by_name = {name.lower(): name for name in table}
    for name in names:
        if name.lower() in by_name:
            return by_name[name.lower()]
    raise InputError(f"No column of {what} (there are {', '.join(table)}). {remedy}.")


def _sampled(table: Table, sources: Sources) -> Table:
    """So many rows of the training part, evenly over the intents; nothing else is looked at."""
    if not sources.labels:
        return table
    splits = [str(value).lower() for value in table.get("split", ())]
    places: dict[str, list[int]] = {}
    for row, (_, label) in enumerate(_rows(table, sources.text)):
        if label is not None and not (splits and splits[row] in (*HELD_BACK, *LEFT_OUT)):
            places.setdefault(label, []).append(row)
    drawn = np.random.default_rng(sources.seed)
    shuffled = [drawn.permutation(places[name]).tolist() for name in sorted(places)]
    most = max(map(len, shuffled), default=0)
    turns = [rows[turn] for turn in range(most) for rows in shuffled if turn < len(rows)]
    if sources.labels > len(turns):
        raise InputError(f"--labels {sources.labels}: the data have {len(turns)} with an intent.")
    if sources.labels < 2 * len(places):
        raise InputError(
            f"--labels {sources.labels} is less than two of each of {len(places)} intents. It "
            f"counts rows: --labels {10 * len(places)} takes ten of each."
        )
    return take_rows(table, sorted(turns[: sources.labels]))
