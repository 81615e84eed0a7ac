"""Whether a candidate's answer is good enough, or the prompt moves on to the next candidate.

What tells: the prompt, the make-up of the answer, and whether cheap candidates agree. The
probability comes from a logistic model over all three, trained on answers that were judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from routing.models.features import Featurizer
from routing.models.shape import shapes
from routing.models.state import Floats, State

UNKNOWN_AGREEMENT = 0.5


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The trained scorer of one step of a cascade.

    `prompts` and `answers` turn both texts into features; `slopes` float32[width] and `level`
    go with all of them in the order prompt, answer, how alike they are in shape, agreement.
    """

    prompts: Featurizer
    answers: Featurizer
    slopes: Floats
    level: float
    threshold: float = 0.5

    def accept(self, prompt: str, response: str, agree: float | None = None) -> float:
        """The probability that the response is right. `agree` is the share of the other
        cheap candidates that say the same, None where nobody else was asked."""
        return float(self.accept_all([prompt], [response], [agree])[0])

    def accept_all(
        self,
        prompts: Sequence[str],
        responses: Sequence[str],
        agree: Sequence[float | None],
    ) -> Floats:
        """float32[n]: `accept` for each of many."""
        rows = acceptance_rows(self.prompts, self.answers, prompts, responses, agree)
        told = np.asarray(rows @ self.slopes + np.float32(self.level))
        return np.asarray(1 / (1 + np.exp(-np.clip(told, -30, 30))), np.float32)

    def state(self) -> State:
        """For the model file."""
        fields = {"level": self.level, "threshold": self.threshold}
        own = State(fields, {"slopes": self.slopes})
        return own.with_part("prompts", self.prompts.state()).with_part(
            "answers", self.answers.state()
        )

    @classmethod
    def from_state(cls, state: State) -> "Acceptance":
        """The scorer that gave this state."""
        return cls(
            prompts=Featurizer.from_state(state.part("prompts")),
            answers=Featurizer.from_state(state.part("answers")),
            slopes=state.arrays["slopes"],
            level=state.fields["level"],
            threshold=state.fields["threshold"],
        )


def acceptance_rows(
    prompt_features: Featurizer,
    answer_features: Featurizer,
    prompts: Sequence[str],
    responses: Sequence[str],
    agree: Sequence[float | None],
) -> sparse.csr_matrix:
    """float32[n, width]: the features of prompts with their answers."""
    told = [UNKNOWN_AGREEMENT if share is None else share for share in agree]
    blank: list[dict[str, str]] = [{}] * len(prompts)
    dense = np.column_stack((shapes(responses) - shapes(prompts), 2 * np.array(told) - 1))
    return sparse.hstack(
        [
            prompt_features.matrix(prompts, blank),
            answer_features.matrix(responses, blank),
            sparse.csr_matrix(dense.astype(np.float32)),
        ],
        format="csr",
    )


def agreement(answer: str, others: Sequence[str]) -> float | None:
    """The share of `others` that say the same as `answer`; None without others."""
    if not others:
        return None
    return sum(essence(other) == essence(answer) for other in others) / len(others)


def essence(answer: str) -> str:
    """What an answer comes down to when case, space and outer punctuation do not count; of a
    long one its last line."""
    lines = [line for line in answer.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return " ".join(last.lower().split()).strip(" .,:;!?*\"'`()[]{}\\")
