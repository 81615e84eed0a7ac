"""What answers are worth, as models write them."""

import pytest

from core.errors import InputError
from evaluation.scorers import check_gold, exact, letter, scorer_of


@pytest.mark.parametrize(
    ("answer", "gold", "worth"),
    [
        ("Paris", "paris", 1),
        ('  "Paris."\n', "Paris", 1),
        ("**card  arrival**", "card arrival", 1),
        ("ﬁne", "fine", 1),
        ("Paris, France", "Paris", 0),
        ("1,234", "1234.0", 1),
        ("$12.50", "12.5", 1),
        ("50%", "0.5", 1),
        ("-3", "3", 0),
        ("", "x", 0),
        ("?", "!", 0),
    ],
)
def test_exact_looks_past_what_does_not_count(answer: str, gold: str, worth: int) -> None:
    assert exact(answer, gold) == worth


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("B", "B"),
        ("(c)", "C"),
        ("**D.**", "D"),
        ("b", "B"),
        ("B) because it is the only prime", "B"),
        ("The answer is C.", "C"),
        ("So the correct answer is: (D) A plum", "D"),
        ("A is tempting, but the correct option is B", "B"),
        ("Final answer: \\boxed{A}", "A"),
        ("I first thought the answer is A. On reflection the answer is D.", "D"),
        ("Let me think.\nA cell divides.\n\nC", "C"),
        ("A cell has a wall, so I would choose E here", "E"),
        ("A plum is a fruit", None),
        ("Both B and C are right", None),
        ("I do not know", None),
        ("", None),
        ("It's a trap", None),
    ],
)
def test_a_letter_is_found_where_an_answer_settles_on_one(answer: str, found: str | None) -> None:
    assert letter(answer) == found


@pytest.mark.parametrize(
    ("answer", "worth"),
    [
        ("spam", 1),
        ("Spam.", 1),
        ("This is spam", 1),
        ("not spam", 0),
        ("It is not spam", 0),
        ("not spam? No: the answer is spam", 1),
        ("spam or not spam", 0),
        ("spammer", 0),
    ],
)
def test_one_of_some_words_is_found_in_an_answer(answer: str, worth: int) -> None:
    assert scorer_of("choice:spam, not spam")(answer, "spam") == worth


@pytest.mark.parametrize("written", ["", "exactly", "exact:a", "choice:", "choice:one", "bleu"])
def test_what_is_no_scorer_is_told_with_those_there_are(written: str) -> None:
    with pytest.raises(InputError, match="There is exact, choice for letters"):
        scorer_of(written)


def test_gold_that_no_answer_could_match_is_told() -> None:
    assert check_gold("exact", "anything") is None
    assert check_gold("choice", "B") is None
    assert check_gold("choice", "(b)") is None
    assert "is no letter" in str(check_gold("choice", "spam"))
    assert check_gold("choice:spam,ham", "Ham") is None
    assert "none of the options" in str(check_gold("choice:spam,ham", "eggs"))
