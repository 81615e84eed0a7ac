"""`batchyard router train`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from batchyard.cli.complete import ProjectOption
from batchyard.cli.output import JsonFlag, put_json, put_line, put_note
from batchyard.cli.router.keep import keep
from batchyard.cli.router.keep import told as kept_line
from batchyard.judged.choosing import Sample, names, train_on
from batchyard.judged.prices import read_prices
from batchyard.judged.recognise import Wanted
from batchyard.judged.tables import read_table
from batchyard.judged.understanding import Sources, train_from
from core.errors import InputError
from core.ids import DEFAULT_PROJECT
from routing.labelled import Labelled
from routing.models.encoder import WORDS
from routing.models.file import dump
from routing.models.state import Model


class Task(StrEnum):
    """What a model is trained for."""

    CHOICE = "choice"
    INTENT = "intent"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command, whatever the task."""

    wanted: Wanted
    sample: Sample
    sources: Sources


class Trainer(Protocol):
    """How a task's model is made: the model, lines for people about the data, and for choice
    the data that it was trained on."""

    def __call__(self, asked: Asked) -> tuple[Model, tuple[str, ...], Labelled | None]: ...


def _choice(asked: Asked) -> tuple[Model, tuple[str, ...], Labelled | None]:
    sources = asked.sources
    if sources.data is None:
        raise InputError("--data is missing: a table of judged prompts.")
    if sources.file or sources.calibration:
        raise InputError("--intents and --calibration are for --task intent.")
    model, seen = train_on(read_table(sources.data), asked.wanted, asked.sample, sources.encoder)
    return model, seen.lines, seen.data


def _intent(asked: Asked) -> tuple[Model, tuple[str, ...], Labelled | None]:
    wanted = asked.wanted
    if wanted.candidates or wanted.metadata or wanted.prices:
        raise InputError("--candidates, --metadata and --prices are for --task choice.")
    return *train_from(asked.sources), None


TRAINERS: Mapping[Task, Trainer] = {Task.CHOICE: _choice, Task.INTENT: _intent}

DataOption = Annotated[
    Path, typer.Option("-d", "--data", help="Judged prompts: Parquet, CSV or JSONL.")
]
MetadataOption = Annotated[
    str, typer.Option("-m", "--metadata", metavar="COL,…", help="Columns that the model reads.")
]
PricesOption = Annotated[
    Path | None, typer.Option(help="What candidates cost (YAML), where the data do not say.")
]
SomeDataOption = Annotated[
    Path | None, typer.Option("-d", "--data", help="Judged prompts: Parquet, CSV or JSONL.")
]
IntentsOption = Annotated[
    Path | None, typer.Option(help="Intents with examples (YAML), beside or without --data.")
]
EncoderOption = Annotated[
    str,
    typer.Option(
        metavar="words|none|DIR", help="Vectors of texts; DIR: model.onnx, tokenizer.json."
    ),
]
CalibrationOption = Annotated[
    Path | None, typer.Option(help="Prompts held back, to learn how sure to be.")
]
OutOption = Annotated[
    Path | None, typer.Option("-o", "--out", help="The file that the model goes to.")
]
NameOption = Annotated[
    str | None,
    typer.Option("-n", "--name", help="Keep it in the yard, as this one's next version."),
]


# One parameter an option.
def train(  # noqa: PLR0913
    *,
    data: SomeDataOption = None,
    task: Annotated[Task, typer.Option("-t", "--task", help="What it is for.")] = Task.CHOICE,
    out: OutOption = None,
    name: NameOption = None,
    project: ProjectOption = DEFAULT_PROJECT,
    labels: Annotated[int, typer.Option(min=0, help="Train on so many rows (0: all).")] = 0,
    seed: Annotated[int, typer.Option(help="Which rows those are.")] = 0,
    metadata: MetadataOption = "",
    candidates: Annotated[
        str, typer.Option(metavar="A,B,…", help="Columns of scores (default: recognised).")
    ] = "",
    text: Annotated[str, typer.Option(metavar="COL", help="The column of prompts.")] = "",
    prices: PricesOption = None,
    intents: IntentsOption = None,
    encoder: EncoderOption = WORDS,
    calibration: CalibrationOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a model on judged prompts; write it to a file, keep it in the yard, or both.

    For choice: a column with the prompts (prompt, text, …) and one of scores for each
    candidate, from 0 to 1 or true and false; perhaps costs in US dollars (`mini|total_cost`),
    answers (`mini|model_response`), and metadata: a task, a template, a subject say more about
    which candidate will do than the text does. The data are recognised and told on stderr.

    For intent: a column with the prompts and one called label (`oos` is out of scope), or a file
    of intents with examples, or both. Where a column `split` says val, those rows tell how sure
    the model may be; rows of a test are left out. `--labels` draws evenly over the intents and
    takes nothing else.

    \b
    Examples:
      batchyard router train --data judged.parquet --task choice --out tickets.router
      batchyard router train --data judged.csv --metadata subject --labels 1500 --out a.router
      batchyard router train --data scored.jsonl --prices prices.yaml --out b.router --json
      batchyard router train --task intent --intents intents.yaml --name banking
      batchyard router train --task intent --data labelled.parquet --out banking.router
    """
    if out is None and not name:
        raise InputError("Where does the model go? --out FILE, or --name NAME for routes to use.")
    wanted = Wanted(
        text=text,
        candidates=names(candidates),
        metadata=names(metadata),
        prices=read_prices(prices) if prices else None,
    )
    sources = Sources(data, intents, calibration, encoder, text, labels, seed)
    model, lines, judged = TRAINERS[task](Asked(wanted, Sample(labels, seed), sources))
    for line in lines:
        put_note(line)
    kept = keep(model, name, project, judged) if name else None
    _put_away(model, out, kept, as_json=as_json)


def _put_away(
    model: Model, out: Path | None, kept: dict[str, Any] | None, *, as_json: bool
) -> None:
    told: dict[str, Any] = {"kind": model.kind, **model.info}
    ends = [f"a model for {model.kind}"]
    if out is not None:
        size = _write(model, out)
        told |= {"out": str(out), "bytes": size}
        ends.append(f"{out}: {size / 1e6:.1f} MB")
    if kept:
        told |= kept
        ends.append(kept_line(kept))
    if as_json:
        put_json(told)
    else:
        put_line("\n".join(ends))


def _write(model: Model, out: Path) -> int:
    """Writes the model; its size in bytes."""
    body = dump(model)
    try:
        return out.write_bytes(body)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}.") from error
