"""A process' log: JSON lines with what is at hand, at the wanted level, and no key in any."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from providers.redact import MASK
from workers.logs import configure, redactor

KEY = "sk-a-key-that-nobody-may-see-0123"
ODD = "plain-looking-value"


def logged(script: str, **env: str) -> str:
    """What a process with this script writes to its log."""
    program = (
        "import logging, structlog\n"
        "from workers.logs import configure, know\n"
        "configure(secrets=['ODD'])\n"
        "log = structlog.get_logger()\n" + script
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_json_and_says_when_who_and_what() -> None:
    [ours, theirs] = lines(
        logged(
            "know(process=7)\n"
            "structlog.contextvars.bind_contextvars(step='call', ticket=3)\n"
            "log.info('claimed', job=12)\n"
            "logging.getLogger('celery.app.trace').info('Task %(name)s done', {'name': 'call'},"
            " extra={'data': {'name': 'call', 'id': 'u-1'}})\n"
        )
    )
    assert {"timestamp", "level", "logger"} <= set(ours)
    assert (ours["event"], ours["job"]) == ("claimed", 12)
    assert (ours["process"], ours["step"], ours["ticket"]) == (7, "call", 3)
    assert (theirs["event"], theirs["level"]) == ("Task call done", "info")
    assert (theirs["process"], theirs["step"], theirs["task"]) == (7, "call", "u-1")


def test_the_level_is_kept_and_signs_are_written_all_the_same() -> None:
    text = logged(
        "log.info('chatter')\nlog.warning('trouble')\n"
        "structlog.get_logger('batchyard.signs').info('the yard is open')\n",
        BATCHYARD_LOG_LEVEL="warning",
    )
    assert [one["event"] for one in lines(text)] == ["trouble", "the yard is open"]


def test_the_rhythm_of_the_clock_is_left_out() -> None:
    text = logged(
        "beat = logging.getLogger('celery.beat')\n"
        "beat.info('Scheduler: Sending due task %s (%s)', 'dispatch', 'dispatch')\n"
        "trace = logging.getLogger('celery.app.trace')\n"
        "trace.info('done', extra={'data': {'name': 'sweep'}})\n"
        "trace.error('failed', extra={'data': {'name': 'sweep'}})\n"
        "beat.info('beat: Starting...')\n"
    )
    assert [one["event"] for one in lines(text)] == ["failed", "beat: Starting..."]


def test_a_console_line_is_for_people() -> None:
    text = logged("log.warning('trouble', job=4)\n", BATCHYARD_LOG_FORMAT="console")
    assert "trouble" in text
    assert "job=4" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_key_and_no_body_comes_through(form: str) -> None:
    text = logged(
        f"log.info('sent', header='Authorization: Bearer {KEY}', url='redis://:hush@host/0')\n"
        f"log.info('sent {KEY}', body='a prompt', deep={{'api_key': 'xyz', 'n': 1}})\n"
        "import os\n"
        "log.error('odd ' + os.environ['ODD'])\n"
        "def call(key, prompt):\n"
        "    raise ValueError('refused ' + key)\n"
        "try:\n"
        f"    call({KEY!r}, 'a prompt')\n"
        "except ValueError:\n"
        "    log.exception('broke down')\n"
        "    logging.getLogger('theirs').exception('so did I')\n",
        BATCHYARD_LOG_FORMAT=form,
        ODD=ODD,
    )
    assert "Traceback" in text
    assert "broke down" in text
    for secret in (KEY, ODD, "hush", "xyz"):
        assert secret not in text
    assert "a prompt" not in text


def test_the_last_net_keeps_numbers_and_structure() -> None:
    clean = redactor(["hunter2-hunter2"])
    event = {"n": 1, "ok": True, "none": None, "list": ["x hunter2-hunter2"], "password": "p"}
    assert clean(None, "info", event) == {
        "n": 1,
        "ok": True,
        "none": None,
        "list": [f"x {MASK}"],
        "password": MASK,
    }


def test_a_level_that_does_not_exist_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="debug, info, warning, error"):
        configure(environ={"BATCHYARD_LOG_LEVEL": "loud"})


def test_a_program_of_somebody_else_keeps_its_stdout() -> None:
    program = (
        "import structlog\nfrom workers.logs import spare_stdout\n"
        "spare_stdout()\nstructlog.get_logger().warning('bell not rung')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, "bell not rung" in done.stderr) == ("", True)
