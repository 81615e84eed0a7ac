"""The processes that run the steps: Celery, wiring, limiter, beat, telemetry."""
