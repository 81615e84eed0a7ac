"""The steps of a prompt's life, plain functions; nothing here knows Celery.

submit ─► route ─► dispatch ─► call (lane, attempt, decide, record) ─► finish
                      ▲                             │
                      └─── retry · fall back ───────┘      and sweep, which finds what was lost

A file a step; the rest of a step's work stands in the folder beside it: `intake` (of submit),
`router` (of route, pilot and score: what models say, and how they learn), `waves` (of plan),
`calls` (of lane: permits, attempts, what follows from an answer).
"""
