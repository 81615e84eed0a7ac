"""Jobs that a router sent on their way: answers, costs, scores and predictions by hand."""

from typing import Any

import numpy as np
from psycopg.types.json import Jsonb

from routing.batch.packing import pack, pack_usd
from tests.routing.judged import CANDIDATES, judged

PAID = (0.0009, 0.009)
"""US dollars for an answer of each candidate."""


def routed(
    inn: Any, *, scored: bool = True, rows: int = 200, explore: float = 0.0, bias: float = 0.0
) -> int:
    """A job whose hard requests went to `large`, the others to `small`, but for a share `explore`
    that was drawn by lot. What was predicted of `small` is too much by `bias`."""
    data = judged(rows, 7)
    hard = np.array([tags["topic"] == "proofs" for tags in data.metadata])
    lots = np.random.default_rng(1)
    drawn = lots.random(rows) < explore
    by = np.where(drawn, lots.integers(0, 2, rows), hard).tolist()
    usual = np.array(by) == hard
    propensity = (explore / 2 + np.where(usual, 1 - explore, 0.0)).tolist()
    lines = [{"prompt": one, "metadata": {"label": "x"}} for one in data.prompts]
    job = int(inn.submit(lines, gold="label"))
    part = inn.part(job)
    quality = np.array([[(0.2 if one else 0.9) + bias, 0.92] for one in hard])
    plans = [
        inn.rows(
            "insert into plans (digest, body) values (%s, %s)"
            " on conflict (digest) do update set body = excluded.body returning id",
            name.encode() * 8, Jsonb({"candidates": [name], "route": "smart"}),
        )[0][0]
        for name in CANDIDATES
    ]  # fmt: skip
    inn.put(
        "routes", part=part, job_id=job, chunk_id=1, round=1, seqs=list(range(rows)),
        plan_ids=[plans[one] for one in by], tokens=[10] * rows, candidates=list(CANDIDATES),
        quality=pack(quality), cost=pack_usd(np.tile(PAID, (rows, 1))), propensity=propensity,
        reasons=Jsonb({"default": "threshold by tickets version 1"}),
    )  # fmt: skip
    names = [CANDIDATES[one] for one in by]
    inn.rows(
        "insert into results (part, job_id, seq, round, status, deployment, n, body, commit_id)"
        " select %s, %s, o - 1, 1, 'completed', d, 1, '{}', 1"
        " from unnest(%s::text[]) with ordinality u (d, o)", part, job, names,
    )  # fmt: skip
    inn.rows(
        "insert into attempts (part, job_id, seq, n, round, deployment, status, cost_nusd,"
        " bound_nusd, latency_ms, commit_id)"
        " select %s, %s, o - 1, 1, 1, d, 'ok', case d when 'large' then 9000000 else 900000 end,"
        " 90000, 5, 1 from unnest(%s::text[]) with ordinality u (d, o)", part, job, names,
    )  # fmt: skip
    if scored:
        worth = [float(data.quality[row, one]) for row, one in enumerate(by)]
        inn.rows(
            "insert into scores (part, job_id, seq, round, scorer, value) select %s, %s, o - 1, 1,"
            " 'exact', v from unnest(%s::float8[]) with ordinality u (v, o)", part, job, worth,
        )  # fmt: skip
    return job
