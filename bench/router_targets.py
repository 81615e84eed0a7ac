"""The targets of the router, on judged and labelled data, by the program itself.

Choice: by outer folds (`bench/outer_folds.py`), or, of few labels, the mean over three samples with
its standard error. Intents: trained on NAME.dev, measured on NAME.test_dev. Files: as
<data>/NAME.dev.parquet. What runs elsewhere: `python -m bench router-cascade --folds 5` (cascades),
`python -m bench.allocate` (a million requests at once), `python -m bench router-budgets` (budgets
of whole jobs on a running yard).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.outer_folds import outer, sampled, told_by_folds
from tasks.child import child_environment

HELP = "the router's targets, on splits of judged and labelled data"
TEN: Final = 10
"""Examples of an intent, where there are few."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model for choice: by outer folds, or trained on `labels` rows of one half."""

    file: str
    labels: int = 0
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Intents:
    """A model of intents: trained on `each` examples of an intent (0: all)."""

    file: str
    each: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A key of `router eval`; what is aimed at, and what others reached."""

    key: str
    target: float
    anchor: str = ""
    most: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    what: str
    of: Choice | Intents
    figures: tuple[Figure, ...]
    seeds: int = 3


@dataclass(frozen=True, slots=True)
class Reached:
    """The mean over the seeds with its standard error, and the 95 % interval of the first."""

    target: str
    what: str
    key: str
    mean: float
    error: float | None
    low: float | None
    high: float | None
    aim: str
    met: bool
    anchor: str


LLM: Final = "RouteLLM"
MMLU: Final = "routellm_mmlu"
BENCH: Final = "routerbench_arc_mbpp_winogrande"
PER_SECOND: Final = Figure("prompts_per_cpu_s", 1000, f"{LLM} 155 (GPU)")
"""T11: a millisecond a prompt of 466 characters, the mean of MMLU's."""
TARGETS: Final = (
    Target(
        "T1", "MMLU, 1,500 labels", Choice(MMLU, 1500),
        (Figure("apgr", 0.64, f"{LLM} .603"), Figure("cpt50", 0.31, f"{LLM} .354", most=True)), 10,
    ),
    Target(
        "T1", "MMLU, 1,500, subject", Choice(MMLU, 1500, "subject"),
        (Figure("apgr", 0.67, "subject alone .670"),), 10,
    ),
    Target(
        "T1", "MMLU, all labels", Choice(MMLU),
        (
            Figure("apgr", 0.67, f"{LLM} .603"),
            Figure("cpt50", 0.28, f"{LLM} .354", most=True),
            PER_SECOND,
        ), 1,
    ),
    Target(
        "T1", "MMLU, all, subject", Choice(MMLU, metadata="subject"),
        (Figure("apgr", 0.70, f"{LLM} .603"),), 1,
    ),
    Target(
        "T2", "GSM8K, text", Choice("routellm_gsm8k"), (Figure("apgr", 0.60, f"{LLM} .622"),), 1
    ),
    Target(
        "T3", "RouterBench", Choice(BENCH),
        (
            Figure("aiq", 0.84, "zero router .819"),
            Figure("worst_budget", 0.0, "zero router"),
            Figure("train_cpu_s", 40, most=True),
        ), 1,
    ),
    Target(
        "T3", "RouterBench, eval_name", Choice(BENCH, metadata="eval_name"),
        (Figure("aiq", 0.84, "zero router .819"), Figure("worst_budget", 0.0, "zero router")), 1,
    ),
    Target(
        "T5", "LLMRouter, 9 models", Choice("llmrouter_nvidia9"),
        (
            Figure("aiq", 0.61, "zero .583"),
            Figure("quality_at_most", 0.62, "best single .6155"),
            Figure("worst_budget", 0.0, "zero router"),
        ), 1,
    ),
    Target(
        "T8", "CLINC150", Intents("clinc150"),
        (
            Figure("accuracy", 0.925, "Rasa .909"),
            Figure("oos_auroc", 0.95),
            Figure("accuracy_at_80_oos_recall", 0.90),
            Figure("prompts_per_cpu_s", 8000),
        ),
        1,
    ),
    Target(
        "T8", "CLINC150, 10 an intent", Intents("clinc150", TEN),
        (Figure("accuracy", 0.84), Figure("coverage", 0.935, "level .95 ± .015")),
        5,
    ),
    Target(
        "T9", "BANKING77", Intents("banking77"),
        (
            Figure("accuracy", 0.925),
            Figure("coverage", 0.935, "level .95 ± .015"),
            Figure("answered_share", 0.85),
            Figure("answered_accuracy", 0.97),
        ),
        1,
    ),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="the folder with the files")
    parser.add_argument("--only", default="", help="e.g. T1,T8 (default: all)")
    parser.add_argument("--folds", type=int, default=5, help="outer folds (default: %(default)s)")
    parser.add_argument("--encoder", type=Path, help="a folder with model.onnx, for intents")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints; what is missed is no failure of the bench."""
    wanted = {name for name in arguments.only.split(",") if name}
    found: list[Reached] = []
    for target in TARGETS:
        if wanted and target.name not in wanted:
            continue
        rows = list(_measured(target, arguments))
        found += rows
        if not arguments.json:
            for row in rows:
                print(_line(row), flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in found]))
    return 0


def _measured(target: Target, arguments: argparse.Namespace) -> Iterator[Reached]:
    one = target.of
    told = [
        _choice(one, arguments.data, seed, arguments.folds)
        if isinstance(one, Choice)
        else _intents(one, arguments.data, seed, arguments.encoder)
        for seed in range(target.seeds)
    ]
    for figure in target.figures:
        yield _reached(target, figure, told)


def _choice(of: Choice, data: Path, seed: int, many: int) -> dict[str, Any]:
    file = data / f"{of.file}.dev.parquet"
    cuts = sampled(file, of.labels, seed) if of.labels else outer(file, many, seed)
    return told_by_folds(file, cuts, of.metadata, seed)


def _intents(of: Intents, data: Path, seed: int, encoder: Path | None) -> dict[str, Any]:
    """Trained on the development file, or some of its examples, measured on the other."""
    trained, others = data / f"{of.file}.dev.parquet", data / f"{of.file}.test_dev.parquet"
    options = ["--encoder", str(encoder)] if encoder else []
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "a.router")
        if of.each:
            table = _some(pq.read_table(trained), of.each, seed)
            trained = Path(folder) / "trained.parquet"
            pq.write_table(table, trained)
        _program("train", "--task", "intent", "--data", str(trained), "--out", model, *options)
        told = _program("eval", "--model", model, "--data", str(others), "--json")
    found: dict[str, Any] = json.loads(told)
    return found


def _some(table: pa.Table, each: int, seed: int) -> pa.Table:
    """So many examples of each intent, none of a validation split."""
    table = table.filter(pa.compute.not_equal(table["split"], "val"))
    labels = np.array(table["label"].to_pylist())
    drawn = np.random.default_rng(seed)
    chosen = [
        drawn.permutation(np.flatnonzero(labels == name))[:each]
        for name in sorted(set(labels.tolist()) - {"oos"})
    ]
    return table.take(np.sort(np.concatenate(chosen)))


def _program(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "batchyard", "router", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=child_environment(),
    )
    return done.stdout


def _reached(target: Target, figure: Figure, told: list[dict[str, Any]]) -> Reached:
    values = [float(one[figure.key]) for one in told]
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    low, high = told[0].get("intervals", {}).get(figure.key, (None, None))
    reaches: Callable[[float, float], bool] = (
        (lambda a, b: a <= b + 0.005) if figure.most else (lambda a, b: a >= b - 0.005)
    )
    aim = f"{'≤' if figure.most else '≥'} {figure.target:g}"
    met = reaches(mean, figure.target)
    return Reached(
        target.name, target.what, figure.key, mean, error, low, high, aim, met, figure.anchor
    )


def _line(row: Reached) -> str:
    error = "" if row.error is None else f" ± {row.error:.3f}"
    between = "" if row.low is None else f" ({row.low:.3f} to {row.high:.3f})"
    verdict = "met" if row.met else "missed"
    return (
        f"{row.target}  {row.what:26}  {row.key:26} {row.mean:9.3f}{error:8}{between:18}"
        f"  {row.aim:8} {verdict:6}  {row.anchor}"
    )
