"""How a defect is written into a log: where, and what, without any variable's value."""

import traceback

from providers.redact import redact


def traced(error: BaseException) -> dict[str, str]:
    """Fields for a log line. Log renderers that show local variables would show keys."""
    return {
        "reason": redact(repr(error)),
        "stack": "".join(traceback.format_tb(error.__traceback__)),
    }
