import numpy as np
import pytest

from routing.models.hashing import MOST_CHARACTERS, NOWHERE, grams


def words(text: str) -> set[int]:
    return set(grams([text])[0].bucket.tolist())


def runs(text: str) -> set[int]:
    """With NOWHERE, as every text's last characters begin none."""
    return set(grams([text])[1].bucket.tolist())


def test_what_a_text_gives_does_not_depend_on_its_neighbours():
    texts = ["one two", "", "two three four", "\0odd\0", "é ü 漢字", "x"]
    together = grams(texts)
    for place, text in enumerate(texts):
        for both, alone in zip(together, grams([text]), strict=True):
            assert sorted(both.bucket[both.text == place]) == sorted(alone.bucket)


def test_case_and_width_of_blanks_do_not_count():
    assert words("Hello  World\n") == words("hello world")
    assert runs("a  b\tc d") == runs("a b c d")


def test_order_of_words_counts_in_pairs_only():
    assert len(words("red green") & words("green red")) == 2
    assert words("red green") != words("green red")


def test_pairs_and_runs_never_cross_from_one_text_into_the_next():
    (first, _), (second, _) = grams(["a b", "c d"]), grams(["a b c d"])
    assert len(first.bucket) == 6
    assert len(second.bucket) == 7
    assert runs("abc") == {*grams(["abc"])[1].bucket} == {*grams(["", "abc", "", ""])[1].bucket}


def test_buckets_are_the_same_on_every_machine():
    assert grams(["batch yard"])[0].bucket.tolist() == [783608, 811890, 677129]


def test_of_a_long_text_both_ends_are_looked_at():
    long = "start " + "x" * MOST_CHARACTERS * 3 + " end"
    assert words("start") < words(long)
    assert words("end") < words(long)
    assert grams([long])[1].bucket.size < 3 * (MOST_CHARACTERS + 10)


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["\ud800"]])
def test_no_text_breaks_it(texts):
    for found in grams(texts):
        assert found.text.size == found.bucket.size
        assert np.all(found.bucket >= NOWHERE)
