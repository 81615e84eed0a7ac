"""What people write about a job, as the submit step takes it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from core.deadline import Deadline, parse_deadline, with_zone
from core.errors import InputError
from core.ids import project_named
from core.money import parse_usd
from core.pilot import PilotOptions
from tasks.submit import SubmitOptions


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """How answers are scored, and whether a pilot is to teach a router first."""

    gold: str | None = None
    scorer: str | None = None
    pilot: PilotOptions | None = None


def scoring_options(
    gold: str | None, scorer: str | None, pilot: int | None, share: float
) -> ScoringOptions:
    """`pilot` is how many requests it has. Raises InputError for one without right answers."""
    if pilot is None:
        return ScoringOptions(gold, scorer)
    if gold is None:
        raise InputError(
            "A pilot needs right answers to learn from. Name the column of the metadata that has "
            "them: --gold"
        )
    return ScoringOptions(gold, scorer, PilotOptions(pilot, gold, share))


def submit_options(  # noqa: PLR0913
    *,
    route: str | None,
    budget: str | Decimal | float | None,
    project: str | None,
    weight: float,
    deadline: Deadline | str | None,
    name: str,
    metadata: Mapping[str, str] | None,
    scoring: ScoringOptions,
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
        gold=scoring.gold,
        scorer=scoring.scorer,
        pilot=scoring.pilot,
        skip_bad_lines=skip_bad_lines,
    )
