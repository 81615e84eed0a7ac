"""What a job may come to is said before it is spent."""

import pytest

from core.errors import NotFoundError
from tasks.intake.outlook import Outlook, outlook


def ahead(inn, job_id: int, project: str = "default") -> Outlook:
    return inn.run(lambda ctx: outlook(ctx, project, job_id))


def test_without_a_budget_only_lines_are_counted(inn) -> None:
    job_id = inn.submit(["a", "b", b"{"], skip_bad_lines=True)
    assert ahead(inn, job_id) == Outlook(total=3, refused=1)


def test_under_a_budget_the_output_limit_decides(inn) -> None:
    job_id = inn.submit([str(n) for n in range(1000)], budget_nusd=10**9)
    told = ahead(inn, job_id)
    assert (told.total, told.output) == (1000, 4096)
    # Two dollars a million output tokens.
    answers = 1000 * 4096 * 2 * 1000
    assert answers < told.bound_nusd < answers * 1.02


def test_who_gives_limits_of_their_own_costs_less(inn) -> None:
    lines = [{"prompt": "a", "max_tokens": 10, "n": 2}, {"prompt": "b", "max_tokens": 20}]
    told = ahead(inn, inn.submit(lines, budget_nusd=10**9))
    assert told.output is None
    assert 40 * 2000 < told.bound_nusd < 300_000


def test_of_another_projects_job_nothing_is_told(inn) -> None:
    job_id = inn.submit(["a"], budget_nusd=5)
    inn.submit(["a"], project="other")
    with pytest.raises(NotFoundError):
        ahead(inn, job_id, "other")
