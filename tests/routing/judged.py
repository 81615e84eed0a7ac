"""Judged prompts out of a seed: what is hard shows in the words, and in the topic."""

import numpy as np

from routing.labelled import Labelled

CANDIDATES = ("small", "large")
TOPICS = ("poems", "proofs", "recipes")
EASY = "name the colour of the sky today please".split()
HARD = "prove the theorem about prime ideals in rings".split()


def judged(rows: int, seed: int = 0) -> Labelled:
    """Half of the prompts are hard: there `small` is right in 2 of 10 cases, else in 9."""
    drawn = np.random.default_rng(seed)
    hard = drawn.random(rows) < 0.5
    prompts, metadata = [], []
    for row in range(rows):
        words = drawn.choice(HARD if hard[row] else EASY, 6)
        prompts.append(" ".join(words) + f" {drawn.integers(1000)}")
        metadata.append({"topic": TOPICS[1] if hard[row] else str(drawn.choice(TOPICS[::2]))})
    small = drawn.random(rows) < np.where(hard, 0.2, 0.9)
    large = drawn.random(rows) < 0.92
    quality = np.column_stack((small, large)).astype(np.float32)
    length = np.array([len(prompt) for prompt in prompts])
    return Labelled(
        prompts=prompts,
        metadata=metadata,
        candidates=CANDIDATES,
        quality=quality,
        cost=np.column_stack((length * 1e-6, length * 3e-5)),
        costs="measured",
    )
