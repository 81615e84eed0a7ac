"""Which candidate is how good for a prompt, and what it costs: a trained model's answer.

`routing/training/choice.py` makes these; this module only applies them, and imports nothing
that takes long to load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from routing.models.acceptance import Acceptance
from routing.models.encoder import Encoder, EncoderSpec
from routing.models.features import Featurizer
from routing.models.state import Array, Floats, State


@dataclass(frozen=True, slots=True)
class Prediction:
    """Rows are prompts, columns the model's candidates in its order.

    `quality` float32[n, m], 0 worthless to 1 right; `cost` float32[n, m], US dollars a call.
    """

    quality: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Head:
    """One linear learner's share in the prediction of quality.

    `slopes` float32[width, m], `level` float32[m]; the result is passed through `link` and
    counts with `weight`; the weights of a model's heads sum to 1.
    """

    slopes: Floats
    level: Floats
    link: Literal["identity", "logistic"]
    weight: float

    def apply(self, rows: sparse.csr_matrix) -> Floats:
        """float32[n, m]."""
        raw = rows @ self.slopes + self.level
        if self.link == "logistic":
            raw = 1 / (1 + np.exp(-np.clip(raw, -30, 30)))
        return np.asarray(raw, np.float32)


@dataclass(frozen=True, slots=True)
class CostHead:
    """ln(cost) is linear in a prompt's shape and tags: `slopes` float32[k, m] over the last k
    columns of the features, `level` float32[m]; `factor` float32[m] makes the sum over the
    training data come out right, `least` and `most` float32[m] are the extremes seen there."""

    slopes: Floats
    level: Floats
    factor: Floats
    least: Floats
    most: Floats

    def apply(self, rows: sparse.csr_matrix) -> Floats:
        """float32[n, m], US dollars."""
        last = rows[:, rows.shape[1] - self.slopes.shape[0] :]
        told = np.exp(np.clip(last @ self.slopes + self.level, -50, 20)) * self.factor
        return np.asarray(np.clip(told, self.least, self.most), np.float32)


@dataclass(frozen=True, slots=True)
class ChoiceModel:
    """Predicts quality and cost of every candidate.

    `candidates` are names of deployments (of models, where it was trained on a file);
    `metadata` the columns that it reads. `base` float32[m] is each candidate's mean quality in
    training; `strength` is how far a prediction may leave it: at 0 every prompt is the same,
    and what is left is the best mix of single candidates. `info` can be told as JSON.
    `acceptance` judges answers, where training had some to learn from.
    """

    candidates: tuple[str, ...]
    featurizer: Featurizer
    heads: tuple[Head, ...]
    costs: CostHead
    base: Floats
    strength: float
    info: Mapping[str, Any]
    acceptance: Acceptance | None = None

    @property
    def kind(self) -> str:
        """The task it was trained for."""
        return "choice"

    @property
    def metadata(self) -> tuple[str, ...]:
        """The metadata columns that it reads; a prompt may lack any of them."""
        return self.featurizer.columns

    @property
    def spec(self) -> EncoderSpec | None:
        """The encoder that it needs."""
        vectors = self.featurizer.vectors
        return None if vectors is None else vectors.spec

    @property
    def encoder(self) -> Encoder | None:
        """The one at work."""
        vectors = self.featurizer.vectors
        return None if vectors is None else vectors.encoder

    def using(self, encoder: Encoder) -> "ChoiceModel":
        """With its encoder at work."""
        return replace(self, featurizer=self.featurizer.using(encoder))

    def predict(
        self, prompts: Sequence[str], metadata: Sequence[Mapping[str, str]] = ()
    ) -> Prediction:
        """What each candidate is worth for each prompt, and costs there.

        `metadata` has a mapping for each prompt, or is empty. Raises ValueError where it is
        of another length, InputError where the encoder is not at work.
        """
        if metadata and len(metadata) != len(prompts):
            raise ValueError(f"{len(metadata)} metadata for {len(prompts)} prompts")
        told = metadata or [{}] * len(prompts)
        quality = [np.empty((0, len(self.candidates)), np.float32)]
        cost = [np.empty((0, len(self.candidates)), np.float32)]
        for rows in self.featurizer.rows(prompts, told):
            quality.append(self._quality(rows))
            cost.append(self.costs.apply(rows))
        return Prediction(np.concatenate(quality), np.concatenate(cost))

    def _quality(self, rows: sparse.csr_matrix) -> Floats:
        if not self.strength:
            return np.tile(self.base, (rows.shape[0], 1))
        told = sum(head.apply(rows) * np.float32(head.weight) for head in self.heads)
        moved = self.base + np.float32(self.strength) * (told - self.base)
        return np.asarray(np.clip(moved, 0, 1), np.float32)

    def state(self) -> State:
        """For the model file."""
        fields = {
            "candidates": list(self.candidates),
            "heads": [{"link": head.link, "weight": head.weight} for head in self.heads],
            "strength": self.strength,
            "info": dict(self.info),
        }
        arrays: dict[str, Array] = {"base": self.base}
        for place, head in enumerate(self.heads):
            arrays |= {f"heads.{place}.slopes": head.slopes, f"heads.{place}.level": head.level}
        for name in ("slopes", "level", "factor", "least", "most"):
            arrays[f"costs.{name}"] = getattr(self.costs, name)
        own = State(fields, arrays).with_part("features", self.featurizer.state())
        if self.acceptance is None:
            return own
        return own.with_part("cascade", self.acceptance.state())

    @classmethod
    def from_state(cls, state: State) -> "ChoiceModel":
        """The model that gave this state."""
        fields, arrays = state.fields, state.arrays
        heads = (
            Head(
                slopes=arrays[f"heads.{place}.slopes"],
                level=arrays[f"heads.{place}.level"],
                link=head["link"],
                weight=head["weight"],
            )
            for place, head in enumerate(fields["heads"])
        )
        names = ("slopes", "level", "factor", "least", "most")
        return cls(
            candidates=tuple(fields["candidates"]),
            featurizer=Featurizer.from_state(state.part("features")),
            heads=tuple(heads),
            costs=CostHead(**{name: arrays[f"costs.{name}"] for name in names}),
            base=arrays["base"],
            strength=fields["strength"],
            info=fields["info"],
            acceptance=(
                Acceptance.from_state(state.part("cascade")) if "cascade" in fields else None
            ),
        )
