"""What people are shown is what there is, and shortly."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from batchyard.cli.failure import USAGE, report_failure
from batchyard.cli.reasons import uncalled_for
from batchyard.cli.show import out, table
from core.errors import InputError, LineProblem
from core.intents import IntentFile, IntentSettings
from routing.asked_intents import clarification, rejection

INTENTS = {"lost": IntentSettings(description="Your card is lost"), "late": IntentSettings()}


def test_brackets_in_a_cell_are_shown_and_mean_nothing() -> None:
    shown = io.StringIO()
    rows = [["its key was refused: [redacted]", "[/closes] nothing"], [Text("late", "red"), "[b]"]]
    Console(file=shown, width=100).print(table(["WHY", "NAME"], rows))
    assert "refused: [redacted]" in shown.getvalue()
    assert "[/closes] nothing" in shown.getvalue()
    assert "[b]" in shown.getvalue()


def test_brackets_in_a_line_are_shown_and_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out().print("waits: its key was refused: [redacted] [/b]", soft_wrap=True)
    assert capsys.readouterr().out == "waits: its key was refused: [redacted] [/b]\n"


def test_a_problem_that_many_lines_share_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    same = [LineProblem(line, "", "not UTF-8", "Save it as UTF-8") for line in (2, 3, 4, 6)]
    other = LineProblem(7, "prompt", "missing", "Give one")
    assert report_failure(InputError("5 bad lines", (*same, other)), as_json=False) == USAGE
    told = capsys.readouterr().err.splitlines()[1:]
    assert told == [
        "  lines 2 to 4: not UTF-8. Save it as UTF-8",
        "  line 6: not UTF-8. Save it as UTF-8",
        "  line 7, prompt: missing. Give one",
    ]


def test_what_ended_without_a_call_is_told_with_what_was_asked_back() -> None:
    told = uncalled_for(clarification(["lost", "late"], IntentFile(intents=INTENTS), (0.6, 0.3)))
    assert told.count("Which of these is it: Your card is lost; or late?") == 1
    assert "lost (0.60)" in told
    assert "none of the intents of its route" in uncalled_for(rejection())
    assert uncalled_for(None) == ""
