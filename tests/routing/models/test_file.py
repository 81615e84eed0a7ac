import io
import pickle
import zipfile

import numpy as np
import pytest

from core.errors import InputError
from routing.models.file import dump, load, load_choice
from routing.training.choice import train_choice
from tests.routing.judged import judged


@pytest.fixture(scope="module")
def model():
    return train_choice(judged(60), ("topic",))


def test_a_model_comes_back_and_says_the_same(model):
    again = load_choice(dump(model))
    data = judged(30, seed=1)
    before, after = (one.predict(data.prompts, data.metadata) for one in (model, again))
    assert np.array_equal(before.quality, after.quality)
    assert np.array_equal(before.cost, after.cost)
    assert (again.candidates, again.metadata) == (model.candidates, ("topic",))
    assert dump(again) == dump(model)


@pytest.mark.parametrize("body", [b"", b"PK", b"not a model", pickle.dumps({})])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(InputError, match="router train"):
        load(body)


def test_a_model_cut_short_is_refused(model):
    with pytest.raises(InputError):
        load(dump(model)[:-100])


def test_arrays_of_objects_are_refused(model):
    held = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(dump(model))) as good,
        zipfile.ZipFile(held, "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(name, good.read(name))
        with bad.open("evil.npy", "w") as entry:
            np.lib.format.write_array(entry, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="no router model"):
        load(held.getvalue())


def test_a_format_of_another_day_names_the_remedy(model):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("model.json", '{"format": 99, "kind": "choice", "fields": {}}')
    with pytest.raises(InputError, match="Train it again"):
        load(held.getvalue())
