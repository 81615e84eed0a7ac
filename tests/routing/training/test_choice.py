from dataclasses import replace

import numpy as np
import pytest

from core.errors import InputError
from routing.labelled import Labelled
from routing.measuring.choice import measure
from routing.models.file import dump, load_choice
from routing.training.choice import train_choice
from tasks.encoders.find import with_encoder, word_vectors
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


ANIMALS = (
    "dog cat cow horse sheep goat lion tiger wolf bear fox rabbit mouse rat deer monkey elephant"
    " camel donkey eagle owl duck goose chicken turkey snake frog fish shark whale"
).split()
DISHES = (
    "bread butter cheese soup salad rice pasta pizza sandwich cake cookie pie sauce noodles curry"
    " steak sausage pancake omelette porridge yogurt cream jam honey chocolate chips toast stew"
    " burger biscuit"
).split()


def test_vectors_are_read_where_they_help_and_are_found_again() -> None:
    right = [[float(word in ANIMALS), 1.0] for word in (*ANIMALS, *DISHES)]
    cost = np.tile([0.001, 0.01], (len(right), 1))
    data = Labelled(
        [*ANIMALS, *DISHES], [{}] * len(right), ("small", "large"),
        np.array(right, np.float32), cost, "measured",
    )  # fmt: skip
    model = train_choice(data, encoder=word_vectors())
    assert model.encoder is word_vectors()
    assert model.info["encoder"] == "words"
    stored = load_choice(dump(model))
    with pytest.raises(InputError, match="needs its encoder words"):
        stored.predict(["zebra"])
    others = ["zebra", "lasagna"]
    told = with_encoder(stored).predict(others).quality
    assert told[0, 0] > told[1, 0] + 0.1, "neither word was in the data"
    assert np.array_equal(told, model.predict(others).quality)


def test_vectors_that_do_not_help_are_left_out() -> None:
    model = train_choice(judged(200), encoder=word_vectors())
    assert model.spec is None
    assert model.info["encoder"] == "none"
    others = judged(50, seed=1)
    plain = train_choice(judged(200))
    assert np.array_equal(
        model.predict(others.prompts).quality, plain.predict(others.prompts).quality
    )
