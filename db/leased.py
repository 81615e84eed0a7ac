"""How rows become leased chunks."""

from collections.abc import Sequence
from typing import Any, Final

from core.plan import Plan
from core.work import LeasedChunk

COLUMNS: Final = 23
"""How many columns of a row `leased` reads; a statement may have more after them."""


def leased(row: Sequence[Any]) -> LeasedChunk:
    """A row that begins with the columns of `db/sql/leased.sql`."""
    return LeasedChunk(
        id=row[0],
        fence=row[1],
        job_id=row[2],
        part=row[3],
        round=row[4],
        plan_id=row[5],
        candidate=row[6],
        deployment=row[7],
        excluded=row[8],
        among=row[9],
        seqs=row[10],
        tries=row[11],
        calls=row[12],
        tokens=row[13],
        text_bytes=row[14],
        overheads=row[15],
        outputs=row[16],
        bounds=row[17],
        accounts=(row[18], row[19]),
        limited=row[20],
        plan=Plan.from_body(row[21]),
        came_from=row[22],
    )
