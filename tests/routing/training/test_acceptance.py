"""A cascade is learned: whom it asks, and which of their answers are enough."""

from dataclasses import replace

import numpy as np

from routing.measuring.cascade import Played
from routing.models.file import dump, load_choice
from routing.training.acceptance import train_acceptance
from routing.training.choice import train_choice
from tests.routing.answered import SURE, VAGUE, answered, unlike


def test_it_knows_the_likely_answers_and_takes_as_many_as_lose_nothing() -> None:
    acceptance = train_acceptance(answered(600))
    assert acceptance is not None
    assert (acceptance.asked, acceptance.strong) == (("small",), "large")
    unseen = answered(400, seed=1)
    judged = acceptance.judge(unseen.prompts, [{"small": one} for one in unseen.responses["small"]])
    taken = judged.gain <= acceptance.least
    assert 0.3 < taken.mean() < 0.8
    small, large = unseen.quality[:, 0], unseen.quality[:, 2]
    assert np.where(taken, small, large).mean() > large.mean() - 0.03
    told = acceptance.judge(["Which label?"] * 2, [{"small": SURE}, {"small": VAGUE[0]}]).likely
    assert told[0, 0] > 0.8
    assert told[1, 0] < 0.3


def test_two_are_asked_where_only_their_agreement_tells() -> None:
    data = unlike(800)
    acceptance = train_acceptance(data)
    assert acceptance is not None
    assert acceptance.asked == ("small", "mini")
    both = [{"small": "card", "mini": "card"}, {"small": "card", "mini": "fee"}]
    judged = acceptance.judge(["Which label has message 7?"] * 2, both)
    assert judged.likely[0].min() > 0.8
    assert judged.likely[1].max() < 0.7
    assert judged.gain[0] + 0.2 < judged.gain[1]
    # It is better than a mix by lot of single candidates on prompts that it has not seen.
    unseen = unlike(800, seed=1)
    played = Played.of(acceptance, unseen)
    usd, quality = played.at(played.most(0.5), np.ones(len(unseen)))
    cost, worth = unseen.cost.mean(axis=0), unseen.quality.mean(axis=0)
    assert quality > np.interp(usd, cost[[0, 2]], worth[[0, 2]]) + 0.05


def test_who_has_not_answered_is_left_out_and_nobody_is_judged_by_nothing() -> None:
    acceptance = train_acceptance(unlike(800))
    assert acceptance is not None
    given = [{"mini": "card", "stranger": "fee"}, {"small": ""}, {}]
    judged = acceptance.judge(["Which label?"] * 3, given)
    assert np.isnan(judged.likely).tolist() == [[True, False], [True, True], [True, True]]
    assert np.isnan(judged.gain).tolist() == [False, True, True]


def test_a_route_may_aim_at_a_quality_or_at_a_cost() -> None:
    acceptance = train_acceptance(unlike(800))
    assert acceptance is not None
    unseen = unlike(800, seed=1)
    played = Played.of(acceptance, unseen)

    def reached(least: float) -> tuple[float, float]:
        return played.at((played.gain > least).astype(np.float64), np.ones(len(unseen)))

    assert abs(reached(acceptance.least_for(quality=0.9))[1] - 0.9) < 0.03
    assert abs(reached(acceptance.least_for(usd=0.4e-4))[0] - 0.4e-4) < 0.05e-4
    assert reached(acceptance.least_for(quality=1.0))[0] > 1e-4, "everything goes on"
    assert reached(acceptance.least_for(usd=0.0))[0] < 0.2e-4, "nothing does"
    assert acceptance.least_for() == acceptance.least


def test_it_comes_back_out_of_a_model_file_as_it_was() -> None:
    data = unlike(400)
    model = replace(train_choice(data), acceptance=train_acceptance(data))
    again = load_choice(dump(model)).acceptance
    assert again is not None
    assert model.acceptance is not None
    assert (again.asked, again.strong) == (model.acceptance.asked, "large")
    assert again.least == model.acceptance.least
    given = [{"small": "card", "mini": "card"}, {"small": "card"}]
    mine, its = (one.judge(["a", "b"], given) for one in (model.acceptance, again))
    assert np.array_equal(mine.likely, its.likely, equal_nan=True)
    assert np.array_equal(mine.gain, its.gain)
    assert again.info == model.acceptance.info
    assert again.least_for(quality=0.9) == model.acceptance.least_for(quality=0.9)


def test_without_answers_of_cheap_candidates_there_is_none() -> None:
    data = answered(200)
    assert train_acceptance(replace(data, responses={})) is None
    assert train_acceptance(replace(data, responses={"large": [SURE] * 200})) is None
    assert train_acceptance(answered(10)) is None
    always = np.ones_like(data.quality)
    assert train_acceptance(replace(data, quality=always)) is None


def test_there_is_none_where_answers_tell_nothing() -> None:
    data = answered(400)
    same = {name: ["the same"] * 400 for name in data.responses}
    drawn = np.random.default_rng(0).random((400, 3)) < [0.5, 0.55, 0.9]
    assert train_acceptance(replace(data, responses=same, quality=drawn.astype(np.float32))) is None
