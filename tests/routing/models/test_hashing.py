import numpy as np
import pytest

from routing.models.hashing import MOST_CHARACTERS, NOWHERE, Grams, grams


def words(text: str) -> set[int]:
    return set(those(grams([text])[0]))


def runs(text: str) -> set[int]:
    return set(those(grams([text])[1]))


def those(found: Grams, text: int = 0) -> list[int]:
    """The buckets of one text, sorted."""
    own = found.bucket[found.ends[text] : found.ends[text + 1]]
    return sorted(own[own != NOWHERE].tolist())


def test_what_a_text_gives_does_not_depend_on_its_neighbours():
    texts = ["one two", "", "two three four", "\0odd\0", "a", "", "ab", "é ü 漢字", "x"]
    together = grams(texts)
    for place, text in enumerate(texts):
        for both, alone in zip(together, grams([text]), strict=True):
            assert those(both, place) == those(alone)


def test_case_and_width_of_blanks_do_not_count():
    assert words("Hello  World\n") == words("hello world")
    assert runs("a  b\tc d") == runs("a b c d")


def test_order_of_words_counts_in_pairs_only():
    assert len(words("red green") & words("green red")) == 2
    assert words("red green") != words("green red")


def test_pairs_and_runs_never_cross_from_one_text_into_the_next():
    words_apart, runs_apart = grams(["a b", "c d"])
    words_joined, runs_joined = grams(["a b c d"])
    assert [len(those(words_apart, text)) for text in (0, 1)] == [3, 3]
    assert len(those(words_joined)) == 7
    assert [len(those(runs_apart, text)) for text in (0, 1)] == [3, 3], "of 4 with the mark"
    assert len(those(runs_joined)) == 15


def test_buckets_are_the_same_on_every_machine():
    assert those(grams(["batch yard"])[0]) == [677129, 783608, 811890]


def test_of_a_long_text_both_ends_are_looked_at():
    long = "start " + "x" * MOST_CHARACTERS * 3 + " end"
    assert words("start") < words(long)
    assert words("end") < words(long)
    assert grams([long])[1].bucket.size < 3 * (MOST_CHARACTERS + 10)


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["\ud800"]])
def test_no_text_breaks_it(texts):
    for found in grams(texts):
        assert found.ends.tolist() == sorted(found.ends.tolist())
        assert found.ends.size == len(texts) + 1
        assert found.ends[-1] == found.bucket.size
        assert np.all(found.bucket >= NOWHERE)
