"""A scorer of answers learns what tells right ones from wrong ones."""

from dataclasses import replace

import numpy as np

from routing.models.file import dump, load_choice
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tests.routing.answered import SURE, VAGUE, answered


def test_it_knows_the_likely_answers_and_takes_as_many_as_lose_nothing() -> None:
    acceptance = train_acceptance(answered(600))
    assert acceptance is not None
    unseen = answered(400, seed=1)
    told = acceptance.accept_all(unseen.prompts, unseen.responses["small"], [None] * 400)
    taken = told >= acceptance.threshold
    assert 0.3 < taken.mean() < 0.8
    small, large = unseen.quality[:, 0], unseen.quality[:, 2]
    assert np.where(taken, small, large).mean() > large.mean() - 0.03
    assert acceptance.accept("Which label?", SURE) > 0.8
    assert acceptance.accept("Which label?", VAGUE[0]) < 0.3


def test_it_comes_back_out_of_a_model_file_as_it_was() -> None:
    data = answered(200)
    model = replace(train_choice(data), acceptance=train_acceptance(data))
    again = load_choice(dump(model)).acceptance
    assert again is not None
    assert model.acceptance is not None
    assert again.threshold == model.acceptance.threshold
    assert again.accept("a", SURE, 0.5) == model.acceptance.accept("a", SURE, 0.5)


def test_without_answers_of_cheap_candidates_there_is_none() -> None:
    data = answered(200)
    assert train_acceptance(replace(data, responses={})) is None
    assert train_acceptance(replace(data, responses={"large": [SURE] * 200})) is None
    assert train_acceptance(answered(10)) is None
    always = np.ones_like(data.quality)
    assert train_acceptance(replace(data, quality=always)) is None
