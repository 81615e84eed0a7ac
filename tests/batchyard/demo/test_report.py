"""Answers are graded fairly, and the screen says what is real and what is not."""

import io
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from rich.console import Console

from batchyard.demo.plan import MOST_LOCAL, load_material
from batchyard.demo.report import (
    Desk,
    Grade,
    Places,
    Report,
    Row,
    Sample,
    Way,
    gold,
    grade,
    label_of,
    rate_used,
)
from batchyard.demo.show import Screen


def line(custom_id: str, deployment: str, content: str | None) -> dict[str, Any]:
    message = {"choices": [{"message": {"content": content}}]}
    return {
        "custom_id": custom_id,
        "response": {"status_code": 200, "body": message},
        "error": None,
        "batchyard": {"deployment": deployment},
    }


@pytest.mark.parametrize("text", ["card", " Card\n", '"CARD"', "**card**.", "`card`"])
def test_a_label_is_read_whatever_stands_around_it(text: str) -> None:
    assert label_of(text) == "card"


def test_only_answers_are_graded_and_by_the_deployment_that_gave_them() -> None:
    failed = {"custom_id": "c", "response": None, "error": {}, "batchyard": {"deployment": "a"}}
    refused = {**line("d", "a", "x"), "response": {"status_code": 400, "body": {"error": {}}}}
    lines = [line("a", "a", "One"), line("b", "a", "one"), line("e", "b", None), failed, refused]
    right = {"a": "one", "b": "two", "c": "one", "d": "one", "e": "one"}
    assert grade(lines, right) == {"a": Grade(2, 1), "b": Grade(1, 0)}


def test_gold_has_the_coarse_label_for_the_local_model() -> None:
    right = gold(load_material())
    assert right["bank-001"] == "activate_my_card"
    assert len(right) == 385 + MOST_LOCAL
    assert {label for one, label in right.items() if one.endswith("-local")} == {
        "account",
        "card",
        "cash",
        "fees",
        "top-up",
        "transfer",
    }


def test_the_rate_is_that_of_the_steady_part() -> None:
    calls = [0, 0, 5, 10, 15, 20, 25, 30, 35, 40, 40, 40]
    samples = [Sample(float(second), {"a": count}) for second, count in enumerate(calls)]
    assert rate_used(samples, "a", 300) == pytest.approx(1.0)
    assert rate_used(samples, "a", 600) == pytest.approx(0.5)
    assert rate_used(samples, "b", 300) is None
    assert rate_used([], "a", 300) is None


def row(name: str, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "deployment": name,
        "results": 10,
        "share": 0.5,
        "calls": 12,
        "retries": 2,
        "fallbacks": 0,
        "throttled": 1,
        "cost_usd": "0.01",
        "labels": 77,
        "accuracy": 0.8,
        "stated": 0.78,
        "limits": {"rpm": 300},
        "rate_used": 0.97,
    }
    return Row(**(values | changes))


def report(**changes: Any) -> Report:
    local = row("local", stated=None, labels=6, accuracy=0.4, limits={}, rate_used=None)
    values: dict[str, Any] = {
        "job": "job_1",
        "status": "completed",
        "total": 20,
        "completed": 20,
        "failed": 0,
        "calls": 24,
        "retries": 4,
        "fallbacks": 0,
        "throttled": 2,
        "in_doubt": 1,
        "cost_usd": "0.02",
        "budget_usd": "2",
        "billed_usd": "0.019",
        "seconds": 30.0,
        "setup_seconds": 9.0,
        "rows": (row("skyline"), local),
        "violations": (),
        "places": Places(home="h", lines_file="l", results_file="r", flower_url="u"),
        "missing": "",
    }
    return Report(**(values | changes))


def shown(one: Report, *, running: bool = False) -> str:
    console = Console(file=io.StringIO(), width=160)
    screen = Screen(console)
    screen.opening(load_material(), one.missing)
    screen.report(one)
    if one.desk is not None:
        screen.desk(one.desk, one.violations)
    screen.where_next(one, running=running)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_says_what_is_real_and_what_is_simulated() -> None:
    text = shown(report())
    assert "78% (simulated)" in text
    assert "40% of 6 topics" in text
    assert "a real model" in text
    assert "97% of 300 a minute" in text
    assert "CC BY 4.0" in text
    assert "1 call without an answer" in text


def test_a_missing_model_is_said_and_not_replaced() -> None:
    text = shown(
        report(rows=(row("skyline"),), missing="no local model for Plan 9: pip install a[local]")
    )
    assert "no local model for Plan 9: pip install a[local]" in text
    assert "SmolLM2" not in text


def test_a_finding_of_the_audit_is_no_success() -> None:
    bad = report(violations=("requests have more than one result",))
    assert not bad.ok
    assert "requests have more than one result" in shown(bad)
    assert not report(failed=1, completed=19).ok
    assert report().ok


def way(route: str, **changes: Any) -> Way:
    values: dict[str, Any] = {
        "job": "job_3",
        "status": "completed",
        "answered": 40,
        "right": 38,
        "kept_out": 0,
        "strange": 12,
        "shut_out": 0,
        "asked": 0,
        "cost_usd": "0.08",
        "cost_nusd": 80_000_000,
    }
    return Way(route=route, **(values | changes))


def test_the_second_part_tells_what_the_router_saved_and_what_it_got_wrong() -> None:
    routed = way("desk", answered=37, right=36, kept_out=11, shut_out=3, asked=1)
    cheap = replace(routed, cost_usd="0.02", cost_nusd=20_000_000)
    desk = Desk(ways=(way("alone"), cheap), stranger="what color is water", question="Which [1]?")
    text = shown(report(desk=desk))
    assert "spent 75% less: 36 of 37 answers right, against 38 of 40" in text
    assert "11 of 12" in text
    assert "what color is water" in text
    assert "Which [1]?" in text
    assert report(desk=desk).ok
    assert not report(desk=replace(desk, ways=(way("alone", status="expired"), cheap))).ok


def test_where_to_look_next_depends_on_whether_the_yard_still_runs() -> None:
    assert "--keep" in shown(report())
    assert "batchyard explain job_1 bank-001" in shown(report(), running=True)


def test_the_report_is_json() -> None:
    told = msgspec.json.decode(msgspec.json.encode(report()))
    assert told["status"] == "completed"
    assert told["rows"][0]["rate_used"] == 0.97
