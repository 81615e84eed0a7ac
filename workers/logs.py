"""How every process of the yard logs: structlog and the standard library's loggers in one form.

BATCHYARD_LOG_LEVEL    debug, info (the default), warning, error
BATCHYARD_LOG_FORMAT   json, or console; by default json where nobody watches on a terminal

A line says when, how grave, who (logger), and what is at hand: process, step, job, ticket. It
never holds a prompt or an answer. Keys are not logged either; the last net takes out whatever
looks like one, and the very values of this process' own secrets.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from typing_extensions import override

from core.errors import ConfigError
from providers.redact import MASK, mask
from providers.secrets import SECRET_NAME
from workers.signs import SIGNS

LEVEL, FORMAT = "BATCHYARD_LOG_LEVEL", "BATCHYARD_LOG_FORMAT"
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "console")

SHORTEST_SECRET = 8

# What a line must never hold, whatever somebody calls it.
_BODIES: Final = frozenset({"body", "prompt", "prompts", "messages", "content", "answer"})
_KEYS: Final = frozenset({"key", "api_key", "authorization", "password", "secret", "token"})

# Rung every second or so; that nothing happened then is no news.
QUIET_STEPS: Final = frozenset({"dispatch", "sweep", "unrung"})

_facts: dict[str, Any] = {}


def configure(
    *,
    environ: Mapping[str, str] = os.environ,
    level: str | None = None,
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Sets up logging for this process; harmless twice. `level` is used where the environment
    names none; `secrets` are names of environment variables whose values nobody may see.

    Raises ConfigError on a level or format that does not exist.
    """
    out = stream or sys.stderr
    chosen = _chosen(environ, LEVEL, LEVELS) or level or "info"
    form = _chosen(environ, FORMAT, FORMATS) or ("console" if out.isatty() else "json")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_facts,
        structlog.processors.format_exc_info,
        redactor(_values(environ, secrets)),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_task, *shared],
            processors=_last(form, out),
        )
    )
    handler.addFilter(_Quiet())
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(chosen.upper())
    # Whoever starts a process waits for its signs, at whatever level.
    logging.getLogger(SIGNS).setLevel(logging.INFO)
    for chatty in ("httpx", "httpcore", "asyncio", "urllib3"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


@contextmanager
def log_into(path: Path, *, environ: Mapping[str, str], secrets: Iterable[str]) -> Iterator[None]:
    """The same, into a file for as long as the block lasts. Raises ConfigError."""
    with path.open("a", encoding="utf-8") as stream:
        configure(environ=environ, stream=stream, secrets=secrets)
        try:
            yield
        finally:
            logging.getLogger().handlers = []


def spare_stdout() -> None:
    """For a program that is not one of the yard's processes: what we have to say goes to stderr,
    where it has not set up structlog itself."""
    if not structlog.is_configured():
        # Asked for at each line, because a program may put another stream there.
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def know(**facts: int | str) -> None:
    """What stands in every line of this process from now on."""
    _facts.update(facts)


def _chosen(environ: Mapping[str, str], name: str, known: Iterable[str]) -> str:
    text = environ.get(name, "").strip().lower()
    if text and text not in known:
        raise ConfigError(f"{name}={text} is not known. Write one of {', '.join(known)}")
    return text


def _values(environ: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Secrets of this process, the longest first, so that none hides a part of another."""
    wanted = set(names)
    found = {v for n, v in environ.items() if n in wanted or SECRET_NAME.search(n)}
    return sorted((v for v in found if len(v) >= SHORTEST_SECRET), key=len, reverse=True)


def _last(form: str, out: TextIO) -> list[Processor]:
    inner = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if form == "json":
        return [inner, structlog.processors.JSONRenderer(default=str)]
    # Rich's traceback would show the variables of each frame, keys among them.
    plain = structlog.dev.plain_traceback
    return [inner, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]


def _add_facts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in _facts.items():
        event.setdefault(name, value)
    return event


def _add_task(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Celery says which task a line is about; so may we."""
    record = event.get("_record")
    told = getattr(record, "data", None)
    if isinstance(told, dict) and "name" in told:
        event["step"] = told["name"]
        event["task"] = told.get("id")
    return event


class _Quiet(logging.Filter):
    """Leaves out the rhythm of beat and of the steps that are rung every second."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.INFO or not record.name.startswith("celery."):
            return True
        told = getattr(record, "data", None)
        if isinstance(told, dict):
            return told.get("name") not in QUIET_STEPS
        return not (record.name == "celery.beat" and "Sending due task" in str(record.msg))


def redactor(secrets: Iterable[str]) -> Callable[[Any, str, EventDict], EventDict]:
    """The last net: a processor that takes out bodies, and all that is or looks like a key."""
    known = tuple(secrets)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret in known:
                value = value.replace(secret, MASK)
            return mask(value)
        if isinstance(value, dict):
            return {key: _cleaned(key, one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(one) for one in value]
        return value if value is None or isinstance(value, int | float) else clean(str(value))

    def _cleaned(key: Any, value: Any) -> Any:
        name = str(key).lower()
        return MASK if name in _BODIES or name in _KEYS else clean(value)

    def process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {
            key: value if key.startswith("_") else _cleaned(key, value)
            for key, value in event.items()
        }

    return process
