"""A sample has of every stratum its share."""

from collections import Counter

from routing.sampling import stratified


def test_every_stratum_has_its_share() -> None:
    strata = ["many"] * 900 + ["some"] * 90 + ["few"] * 10
    counts = Counter(strata[at] for at in stratified(strata, 100, seed=3))
    assert abs(counts["many"] - 90) <= 1
    assert abs(counts["some"] - 9) <= 1
    assert counts["few"] == 1


def test_indexes_are_drawn_once_by_lot_and_the_same_for_a_seed() -> None:
    strata = ["a", "b"] * 50
    one = stratified(strata, 40, seed=1)
    assert len(set(one)) == 40
    assert one == sorted(one) == stratified(strata, 40, seed=1)
    assert one != stratified(strata, 40, seed=2)
    assert stratified(strata, 500, seed=1) == list(range(100))
    assert stratified([], 5, seed=1) == []
