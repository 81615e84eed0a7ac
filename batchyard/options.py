"""What people write about a job, as the submit step takes it."""

import os
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from core.deadline import Deadline, parse_deadline, with_zone
from core.ids import project_named
from core.money import parse_usd
from tasks.submit import SubmitOptions


# All by name.
def submit_options(  # noqa: PLR0913
    *,
    route: str | None,
    budget: str | Decimal | float | None,
    project: str | None,
    weight: float,
    deadline: Deadline | str | None,
    name: str,
    metadata: Mapping[str, str] | None,
    gold: str | None,
    scorer: str | None,
    skip_bad_lines: bool,
) -> SubmitOptions:
    """`budget` is in dollars; `project` None is BATCHYARD_PROJECT's. Raises InputError."""
    if isinstance(deadline, datetime):
        deadline = with_zone(deadline)
    return SubmitOptions(
        project=project_named(project, os.environ),
        route=route,
        budget_nusd=None if budget is None else parse_usd(str(budget)),
        weight=weight,
        deadline=parse_deadline(deadline) if isinstance(deadline, str) else deadline,
        name=name,
        metadata=dict(metadata or {}),
        gold=gold,
        scorer=scorer,
        skip_bad_lines=skip_bad_lines,
    )
