"""The right answers that come with a job, in a column of its requests' metadata."""

from core.errors import InputError, LineProblem
from db.requests import Row
from evaluation.scorers import check_gold, scorer_of
from tasks.router.tags import tags_of

MOST_NAMED = 8


def gold_of(metadata: str | None, column: str) -> str | None:
    """The right answer of a request; None where it has none."""
    return tags_of(metadata).get(column)


class Gold:
    """Looks at the right answers of a job while it is read: a scorer that no answer could
    satisfy is told before anything is paid."""

    def __init__(self, column: str, scorer: str) -> None:
        scorer_of(scorer)
        self.column = column
        self.scorer = scorer
        self.found = 0
        self._others: dict[str, None] = {}

    def check(self, number: int, row: Row) -> LineProblem | None:
        """What is wrong with the row's right answer; a row may be without one."""
        tags = tags_of(row.metadata.decode())
        gold = tags.get(self.column)
        if gold is None:
            if len(self._others) < MOST_NAMED:
                self._others.update(dict.fromkeys(tags))
            return None
        self.found += 1
        problem = check_gold(self.scorer, gold)
        if problem is None:
            return None
        fix = "Mend it, or give another --scorer"
        return LineProblem(number, f"metadata.{self.column}", problem, fix, "bad_gold")

    def check_any(self) -> None:
        """Raises InputError where no row had a right answer."""
        if self.found:
            return
        others = ", ".join(self._others)
        there = f"There is {others}" if others else "No line has metadata"
        raise InputError(
            f"--gold {self.column}: no line has {self.column!r} in its metadata. {there}. In a "
            "CSV file each column beside prompt, system, model and custom_id is metadata"
        )
