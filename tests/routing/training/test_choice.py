from dataclasses import replace

import numpy as np
import pytest

from routing.measuring.choice import measure
from routing.training.choice import train_choice
from tests.routing.judged import judged


def test_a_model_of_what_shows_in_the_words_beats_the_mix_of_single_candidates():
    model = train_choice(judged(200))
    others = judged(200, seed=1)
    told = measure(model, model.predict(others.prompts), others)
    assert told.intervals["aiq_gain"][0] > 0
    assert told.intervals["apgr"][0] > 0.6


def test_a_model_of_noise_does_not_lose_to_the_mix_of_single_candidates():
    data = judged(200)
    noise = np.random.default_rng(5).permutation(data.quality)
    model = train_choice(replace(data, quality=noise))
    found = model.info["cross_validated"]
    assert found["aiq"] >= found["aiq_zero"]


def test_too_little_to_learn_from_is_said():
    with pytest.raises(ValueError, match="at least 20"):
        train_choice(judged(10))
