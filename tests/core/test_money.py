import pytest

from core.money import usd_about


@pytest.mark.parametrize(
    ("nusd", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (1_234_567, "0.0012"),
        (999_900_000, "1"),
        (3_414_000_000, "3.41"),
        (1_234_567_000_000, "1,235"),
    ],
)
def test_about_is_in_the_digits_that_matter(nusd: int, text: str) -> None:
    assert usd_about(nusd) == text
