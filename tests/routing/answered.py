"""Judged answers out of a seed: what is wrong shows in the answer."""

import numpy as np

from routing.labelled import Labelled

SURE, VAGUE = "refund", ("card", "transfer", "fee", "limit")
LABELS = (SURE, *VAGUE)


def answered(rows: int, seed: int = 0) -> Labelled:
    """`small` and `mini` are right where they say `refund`, `large` is right nearly always, and
    no more often than that. Costs are a tenth and a half of `large`'s."""
    drawn = np.random.default_rng(seed)
    sure = drawn.random((rows, 2)) < 0.7
    right = np.where(sure, drawn.random((rows, 2)) < 0.99, drawn.random((rows, 2)) < 0.1)
    large = drawn.random((rows, 1)) < 0.97
    texts = [
        [SURE if one else VAGUE[n % len(VAGUE)] for one in pair] for n, pair in enumerate(sure)
    ]
    return Labelled(
        prompts=[f"Which label has message {n}?" for n in range(rows)],
        metadata=[{}] * rows,
        candidates=("small", "mini", "large"),
        quality=np.column_stack((right, large)).astype(np.float32),
        cost=np.tile([0.1, 0.5, 1.0], (rows, 1)) * 1e-4,
        costs="measured",
        responses={"small": [one for one, _ in texts], "mini": [two for _, two in texts]},
    )


def unlike(rows: int, seed: int = 0) -> Labelled:
    """`small` and `mini` are right in seven of ten cases, and wrong each in its own way: where they
    say the same, it is right nearly always. Nothing else tells."""
    drawn = np.random.default_rng(seed)
    right = drawn.random((rows, 2)) < 0.7
    truth = drawn.integers(0, len(LABELS), rows)
    apart = drawn.integers(1, len(LABELS), (rows, 2))
    said = np.where(right, truth[:, None], (truth[:, None] + apart) % len(LABELS))
    large = drawn.random((rows, 1)) < 0.97
    texts = [[LABELS[one] for one in column] for column in said.T]
    return Labelled(
        prompts=[f"Which label has message {n}?" for n in range(rows)],
        metadata=[{}] * rows,
        candidates=("small", "mini", "large"),
        quality=np.column_stack((right, large)).astype(np.float32),
        cost=np.tile([0.05, 0.1, 1.0], (rows, 1)) * 1e-4,
        costs="measured",
        responses={"small": texts[0], "mini": texts[1]},
    )
