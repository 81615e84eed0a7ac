"""Score: what a job's answers are worth beside the right ones in its metadata.

Goes over the requests in order, a thousand at a time, and scores the answers that have no score
yet; so it may be rung at any time and as often as one likes. A pass goes over a running job
now and then, and one more after its end. A step works for about two seconds and then asks for
the next one.
"""

import asyncio
from collections.abc import Sequence

from db.results import answer_text
from db.scores import (
    Scoring,
    Unscored,
    due_scorings,
    keep_progress,
    name_of,
    put_scores,
    take_scoring,
    unscored,
)
from evaluation.scorers import Scorer, scorer_of
from tasks.context import Context
from tasks.intake.gold import gold_of

PIECE = 1000
WORK_SECONDS = 2.0
LIVE_PAUSE = 15.0
"""Seconds between two passes over a job that runs."""


async def score(context: Context, job_id: int) -> str:
    """Scores of the job what it can in its time; returns one line on what was done."""
    loop = asyncio.get_running_loop()
    end = loop.time() + WORK_SECONDS
    found: list[tuple[str, float]] = []
    async with context.pool.connection() as conn, conn.transaction():
        scoring = await take_scoring(conn, job_id)
        if scoring is None:
            return f"nothing to score in job_{job_id}"
        scorer, at = scorer_of(scoring.scorer), scoring.scored_to
        while at < scoring.total:
            answers = await unscored(conn, job_id, scoring, at, at + PIECE)
            if answers:
                scores = await asyncio.to_thread(_scores, answers, scoring, scorer)
                await put_scores(conn, scoring.part, job_id, scoring.scorer, scores)
                by = {one.seq: one.deployment for one in answers}
                found += [(by[seq], value) for seq, _, value in scores]
            at += PIECE
            if loop.time() >= end:
                break
        whole = at >= scoring.total
        await keep_progress(conn, job_id, scoring, 0 if whole else at)
    for deployment, value in found:
        context.router.add_score(name_of(scoring.scorer), deployment, value)
    if not whole:
        await context.publisher.publish("score", job_id)
    return f"{len(found)} answers of job_{job_id} scored"


async def ring_scores(context: Context) -> int:
    """Rings for jobs that have something to score; how many."""
    async with context.pool.connection() as conn:
        jobs = await due_scorings(conn, LIVE_PAUSE)
    for job_id in jobs:
        await context.publisher.publish("score", job_id)
    return len(jobs)


def _scores(
    answers: Sequence[Unscored], scoring: Scoring, scorer: Scorer
) -> list[tuple[int, int, float]]:
    """(seq, round, value) of those that have a right answer."""
    found = []
    for one in answers:
        gold = gold_of(one.metadata, scoring.gold)
        if gold is not None:
            found.append((one.seq, one.round, scorer(answer_text(one.body)[0], gold)))
    return found
