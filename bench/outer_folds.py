"""What a model for choice reaches when it is trained on nearly all rows: by outer folds.

Each fold is `batchyard router train`, which chooses all settings by folds of its own, on the other
folds; it is measured on the one that took no part. So every row is told of once, by a model that
has not seen it, and all of them are measured together (`measure_parts`): in each fold the same
share goes to the stronger candidate, or the same budget a row is kept to, since what one model
foresees need not be comparable with what another does.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchyard.judged.choosing import for_model
from batchyard.judged.recognise import Wanted
from batchyard.judged.tables import read_table
from routing.measuring.choice import Part, measure_parts
from routing.models.choice import ChoiceModel
from routing.training.learners import folds
from tasks.child import child_environment
from tasks.encoders.find import load_ready


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows to train on, and rows to measure on; `options` are further ones of `router train`."""

    fit: Sequence[int]
    look: Sequence[int]
    options: tuple[str, ...] = ()


def outer(file: Path, many: int, seed: int) -> list[Cut]:
    """`many` cuts of a file with a column `prompt`, each row measured on once; equal prompts stay
    together."""
    prompts = pq.read_table(file, columns=["prompt"])["prompt"].to_pylist()
    return [Cut(fit.tolist(), look.tolist()) for fit, look in folds(prompts, many, seed)]


def sampled(file: Path, labels: int, seed: int) -> list[Cut]:
    """So many rows of one half, drawn by the seed, to train on; the other half to measure on."""
    rows = pq.read_metadata(file).num_rows
    order = np.random.default_rng(seed).permutation(rows)
    half = rows // 2
    options = ("--labels", str(labels), "--seed", str(seed))
    return [Cut(np.sort(order[:half]).tolist(), np.sort(order[half:]).tolist(), options)]


def told_by_folds(file: Path, cuts: Sequence[Cut], metadata: str, seed: int) -> dict[str, Any]:
    """The figures of `router eval` on the rows of all cuts, the worst of the nine budgets as
    `worst_budget`, the CPU seconds of a training and the prompts told per CPU second."""
    table = pq.read_table(file)
    # Answers teach cascades, which are measured elsewhere.
    table = table.select([name for name in table.column_names if not name.endswith("response")])
    parts, trained, models = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for cut in cuts:
            model, seconds = _trained(table.take(cut.fit), Path(folder), cut.options, metadata)
            pq.write_table(table.take(cut.look), Path(folder) / "others.parquet")
            data = for_model(read_table(Path(folder) / "others.parquet"), model, Wanted())
            began = time.process_time()
            told = model.predict(data.prompts, data.metadata)
            trained.append((seconds, len(data), time.process_time() - began))
            parts.append(Part(data, told))
            models.append(model)
    order = np.argsort(np.mean([model.base for model in models], axis=0), kind="stable")
    figures = measure_parts(parts, int(order[0]), int(order[-1]), seed).told()
    spent = np.array(trained).sum(axis=0)
    figures |= {"train_cpu_s": spent[0] / len(cuts), "prompts_per_cpu_s": spent[1] / spent[2]}
    if curve := figures.get("budget_curve"):
        worst = min(curve, key=lambda one: one["difference"])
        figures["worst_budget"] = worst["difference"]
        figures["intervals"]["worst_budget"] = worst["interval"]
    return figures


def _trained(
    rows: pa.Table, folder: Path, options: Sequence[str], metadata: str
) -> tuple[ChoiceModel, float]:
    """The model that the program makes of these rows, and the CPU seconds of the whole process."""
    data, out = folder / "trained.parquet", folder / "a.router"
    pq.write_table(rows, data)
    told = ["--metadata", metadata] if metadata else []
    command = [sys.executable, "-m", "batchyard", "router", "train", "--data", str(data)]
    done = subprocess.run(
        [*command, "--out", str(out), "--json", *told, *options],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=child_environment(),
    )
    model = load_ready(out.read_bytes())
    if not isinstance(model, ChoiceModel):
        raise TypeError(f"{out} is a model for {model.kind}")
    return model, float(json.loads(done.stdout)["cpu_s"])
