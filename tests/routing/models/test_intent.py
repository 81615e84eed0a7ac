"""A model of intents names what prompts are about, and knows how sure it is."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.intents import IntentFile
from routing.measuring.intent import measure_intents
from routing.models.encoder import EncoderSpec
from routing.models.file import dump, load
from routing.models.intent import IntentModel, quantile
from routing.models.state import Floats
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from routing.training.lesson import LEAST_OUTSIDE
from tests.routing.spoken import STRANGE, spoken

DAYS = ("today", "tomorrow", "on sunday", "at noon", "next week")


class Lengths:
    """An encoder of a kind: how long a text is."""

    spec = EncoderSpec("/models/lengths", "0" * 64, 2)

    def encode(self, texts: list[str]) -> Floats:
        angles = np.array([len(text) / 50 for text in texts], np.float32)
        return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.fixture(scope="module")
def model() -> IntentModel:
    return train_intents(IntentData(Examples(*spoken(20)), Examples(*spoken(20, 1), STRANGE)))


def test_it_names_prompts_that_it_has_not_seen(model: IntentModel) -> None:
    texts, labels = spoken(40, seed=2)
    told = model.predict(texts)
    assert np.allclose(told.probability.sum(axis=1), 1, atol=1e-5)
    named = [told.names[place] for place in told.probability.argmax(axis=1)]
    assert np.mean([one == label for one, label in zip(named, labels, strict=True)]) > 0.95
    assert not told.outside.all()
    assert model.predict(STRANGE).outside.all()


def test_the_file_gives_the_same_model_back(model: IntentModel) -> None:
    body = dump(model)
    again = load(body)
    assert isinstance(again, IntentModel)
    assert dump(again) == body
    texts = spoken(5, seed=3)[0]
    assert (again.predict(texts).probability == model.predict(texts).probability).all()


def test_prediction_sets_hold_the_truth_as_often_as_they_say(model: IntentModel) -> None:
    texts, labels = spoken(200, seed=4)
    told = model.predict(texts)
    truth = [told.names.index(label) for label in labels]
    assert told.sets(0.1)[np.arange(len(truth)), truth].mean() > 0.85
    assert (told.sets(0.01).sum(axis=1) >= told.sets(0.3).sum(axis=1)).all()
    assert (told.sets(0.5).sum(axis=1) >= 1).all(), "the likeliest is always in"


def test_the_quantile_is_that_of_split_conformal_prediction() -> None:
    scores = np.arange(1, 20, dtype=np.float32) / 20
    assert quantile(scores, 0.1) == pytest.approx(0.9), "the 18th of 19"
    assert quantile(scores, 0.01) == 1.0, "too few to say"
    assert quantile(np.zeros(0, np.float32), 0.1) == 1.0


def test_without_calibration_prompts_it_crosses_over() -> None:
    texts, labels = spoken(12)
    model = train_intents(IntentData(Examples(texts, labels)))
    assert model.info["calibrated_by"] == "cross-validation"
    assert model.nonconformity.size >= len(texts) - 3
    assert (~model.predict(spoken(10, seed=5)[0]).outside).mean() > 0.8


def test_strangers_that_sound_like_customers_do_not_shut_the_customers_out() -> None:
    alike = [f"{text}, and {strange}" for text, strange in zip(spoken(2)[0], STRANGE, strict=False)]
    model = train_intents(IntentData(Examples(*spoken(8), alike)))
    assert 0 < model.info["lost"] <= 0.2
    assert (~model.predict(spoken(10, seed=5)[0]).outside).mean() > 0.8


def test_strangers_enough_to_learn_from_make_others_like_them_stranger() -> None:
    texts, labels = spoken(10)
    weather = [f"will there be {what} {when}" for what in ("rain", "snow") for when in DAYS]
    ignorant = train_intents(IntentData(Examples(texts, labels, weather[: LEAST_OUTSIDE - 1])))
    taught = train_intents(IntentData(Examples(texts, labels, weather)))
    assert taught.slopes.shape[1] == len(taught.intents) + 1
    asked = ["will there be fog since monday", "will there be sun right now"]
    before, after = (model.predict(asked).strangeness for model in (ignorant, taught))
    assert (after > before).all()
    told = taught.predict([*texts, *asked])
    assert np.allclose(told.probability.sum(axis=1), 1, atol=1e-5)
    assert told.probability.shape[1] == len(told.names) == 3
    assert told.outside[-2:].all()
    assert told.outside[:-2].mean() < 0.1
    assert dump(load(dump(taught))) == dump(taught)


def test_a_name_and_its_description_are_learned_from_too() -> None:
    texts, labels = spoken(3)
    file = IntentFile.model_validate(
        {"intents": {name: {} for name in set(labels)} | {"balance": {"description": "Kontostand"}}}
    )
    told = train_intents(IntentData(Examples(texts, labels), file=file)).predict(["kontostand"])
    assert told.names[int(told.probability.argmax())] == "balance"


@pytest.mark.parametrize(
    ("labels", "said"), [(["a", "a"], "1 intents"), (["a", "a", "b"], "fewer than 2 examples of b")]
)
def test_too_few_examples_are_told(labels: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        train_intents(IntentData(Examples(["x"] * len(labels), labels)))


def test_two_intents_will_do() -> None:
    texts, labels = spoken(10)
    kept = [row for row, label in enumerate(labels) if label != "balance"]
    data = Examples([texts[row] for row in kept], [labels[row] for row in kept])
    told = train_intents(IntentData(data)).predict(data.texts)
    named = [told.names[place] for place in told.probability.argmax(axis=1)]
    assert named == data.labels


def test_a_model_with_an_encoder_says_so_where_that_is_missing() -> None:
    texts, labels = spoken(10)
    model = train_intents(IntentData(Examples(texts, labels)), Lengths())
    stored = load(dump(model))
    assert isinstance(stored, IntentModel)
    with pytest.raises(InputError, match="needs its encoder /models/lengths"):
        stored.predict(texts)
    again = stored.using(Lengths()).predict(texts)
    assert (again.probability == model.predict(texts).probability).all()


def test_a_model_of_before_says_what_it_said() -> None:
    model = load((Path(__file__).parent / "intent_format_1.router").read_bytes())
    assert isinstance(model, IntentModel)
    told = model.using(Lengths()).predict(
        ["i lost my card", "what is the balance of my account", STRANGE[0]]
    )
    named = [told.names[place] for place in told.probability.argmax(axis=1)]
    assert named == ["lost_card", "balance", "balance"]
    assert told.probability[2] == pytest.approx([0.9987, 0.0010, 0.0002], abs=1e-4)
    assert told.strangeness == pytest.approx([-0.59794, -0.88659, -0.31161], abs=1e-4)
    assert model.threshold == pytest.approx(0.16679, abs=1e-5)


def test_what_is_far_from_all_examples_is_strange_whatever_its_words_say() -> None:
    texts, labels = spoken(10)
    model = train_intents(IntentData(Examples(texts, labels)), Lengths())
    near, far = model.predict([texts[0], texts[0] + " " * 100]).strangeness
    assert far > near + 1


def test_a_long_prompt_is_read_at_both_ends(model: IntentModel) -> None:
    padding = " and so on" * 400
    told = model.predict([f"{padding} lost my card", f"lost my card {padding}", padding])
    card = told.names.index("lost_card")
    assert (told.probability[:2, card] > told.probability[2, card] + 0.02).all()
    middle = model.predict([f"{padding} lost my card {padding}"])
    assert middle.probability[0, card] == pytest.approx(told.probability[2, card], abs=0.01)


def test_figures_count_what_they_say(model: IntentModel) -> None:
    texts, labels = spoken(30, seed=6)
    told = model.predict([*texts, *STRANGE, "hm"])
    figures = measure_intents(told, [*labels, *[None] * len(STRANGE), "no_such"], 0.05)
    assert (figures["rows"], figures["rows_left_out"]) == (len(texts) + len(STRANGE), 1)
    assert figures["out_of_scope_rows"] == len(STRANGE)
    right = [told.names[place] for place in told.probability.argmax(axis=1)[: len(labels)]]
    assert figures["accuracy"] == pytest.approx(
        np.mean([one == label for one, label in zip(right, labels, strict=True)])
    )
    inside, outside = told.strangeness[: len(texts)], told.strangeness[len(texts) : -1]
    assert figures["oos_auroc"] == pytest.approx((outside[:, None] > inside).mean())
    assert figures["accuracy_at_80_oos_recall"] <= figures["accuracy"]
    low, high = figures["intervals"]["accuracy"]
    assert low <= figures["accuracy"] <= high
