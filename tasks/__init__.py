"""The steps of a prompt's life, plain functions; nothing here knows Celery.

submit ─► route ─► dispatch ─► call (lane, attempt, decide, record) ─► finish
                      ▲                             │
                      └─── retry · fall back ───────┘      and sweep, which finds what was lost
"""
