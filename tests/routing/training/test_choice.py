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


def test_what_is_chosen_is_not_worse_than_the_mix_of_single_candidates_at_any_budget():
    data = judged(300)
    drawn = np.random.default_rng(7)
    for quality in (data.quality, drawn.permutation(data.quality)):
        model = train_choice(replace(data, quality=quality))
        assert model.info["cross_validated"]["worst_budget"] >= -0.005
    others = judged(2000, seed=1)
    model = train_choice(data)
    told = measure(model, model.predict(others.prompts), others).values["budget_curve"]
    assert len(told) == 9
    assert all(one["difference"] > -0.01 for one in told)
    assert all(one["spend"] == pytest.approx(one["budget"], rel=0.05) for one in told[:8])
