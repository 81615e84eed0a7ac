"""Vectors of words put texts of one meaning side by side, and are never fetched from anywhere."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from routing.models.encoder import EncoderSpec
from routing.models.file import dump, load
from routing.models.intent import IntentModel
from routing.training.examples import Examples, IntentData
from routing.training.intent import train_intents
from tasks.encoders import find, words
from tasks.encoders.words import WordVectors
from tests.routing.spoken import spoken


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return WordVectors()


def test_a_text_is_nearer_to_what_means_the_same(vectors: WordVectors) -> None:
    told = vectors.encode(["my card was stolen", "someone took my debit card", "how tall is he"])
    assert np.allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    assert told[0] @ told[1] > told[0] @ told[2] + 0.2


def test_texts_do_not_depend_on_their_neighbours(vectors: WordVectors) -> None:
    texts = [f"{text} {place}" for place, text in enumerate(spoken(200)[0])]
    texts[7] = ""
    together = vectors.encode(texts)
    assert together.shape == (600, vectors.spec.width)
    assert not together[7].any(), "nothing is said of a text without words"
    assert np.allclose(together[599], vectors.encode(texts[599:])[0], atol=1e-6)
    assert vectors.encode([]).shape == (0, vectors.spec.width)


def test_threads_may_learn_the_same_words_at_once(vectors: WordVectors) -> None:
    texts = [f"{text} w{place % 50}" for place, text in enumerate(spoken(200)[0])]
    shared = WordVectors()
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda start: shared.encode(texts[start::8]), range(8))
        for start, one in enumerate(found):
            assert (one == vectors.encode(texts[start::8])).all()


def test_words_are_forgotten_before_they_are_too_many(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MOST_WORDS", 4)
    few = WordVectors()
    for text in ("one two three", "four five six", "one six"):
        assert (few.encode([text]) == vectors.encode([text])).all()


def test_a_stored_model_finds_them_again() -> None:
    texts, labels = spoken(10)
    vectors = WordVectors()
    model = train_intents(IntentData(Examples(texts, labels)), vectors)
    stored = load(dump(model))
    assert isinstance(stored, IntentModel)
    again = find.with_encoder(stored)
    assert (again.predict(texts).probability == model.predict(texts).probability).all()
    # Words that no example has, by their meaning alone.
    told = again.predict(["remaining credit"])
    assert told.names[int(told.probability.argmax())] == "balance"


def test_other_vectors_than_in_training_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = spoken(10)
    model = train_intents(IntentData(Examples(texts, labels)), WordVectors())
    monkeypatch.setattr(WordVectors, "spec", EncoderSpec("words", "0" * 64, 256), raising=False)
    other = WordVectors.__new__(WordVectors)
    monkeypatch.setattr(find, "word_vectors", lambda: other)
    with pytest.raises(InputError, match=r"encoder words is not the one.*train again"):
        find.with_encoder(model)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "WEIGHTS", "wordllama/weights/no_such.safetensors")
    with pytest.raises(InputError, match=r"no_such.*pip install wordllama.*--encoder none"):
        WordVectors()


def test_neither_the_network_nor_the_package_is_touched() -> None:
    looked = (
        "import socket, sys\n"
        "def refuse(*args): raise AssertionError('a socket')\n"
        "socket.socket.connect = refuse\n"
        "from tasks.encoders.words import WordVectors\n"
        "WordVectors().encode(['a'])\n"
        "assert 'wordllama' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", looked], check=True, cwd=Path(__file__).parents[3])


def test_a_broken_character_stops_no_text_after_it(vectors: WordVectors) -> None:
    told = vectors.encode(["half \ud83d of a face", "my card was stolen"])
    assert np.array_equal(told[1], vectors.encode(["my card was stolen"])[0])
