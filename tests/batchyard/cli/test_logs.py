"""`batchyard logs` on a running yard."""

import json
import subprocess
from datetime import datetime

import pytest

from tests.batchyard.cli.conftest import KEY


@pytest.fixture(scope="module")
def ran(yard) -> str:
    """A job that went through, so that every step has written something."""
    job = yard("submit", "-", "--json", stdin='{"prompt": "Say something private"}\n').json["id"]
    assert yard("watch", job).code == 0
    return job


def told(yard, *args: str) -> list[dict]:
    said = yard("logs", "--json", *args)
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def test_all_services_are_told_in_the_order_of_time(yard, ran) -> None:
    lines = told(yard, "--since", "1d")
    assert {"supervisor", "postgres", "valkey", "worker-control", "worker-call-1", "beat"} <= {
        one["service"] for one in lines
    }
    times = [datetime.fromisoformat(one["timestamp"]) for one in lines if one["timestamp"]]
    assert times == sorted(times)


def test_a_steps_lines_say_which_job_and_which_ticket(yard, ran) -> None:
    lines = told(yard, "worker", "--since", "1d")
    assert {one["service"] for one in lines} == {"worker-control", "worker-call-1"}
    calls = [one for one in lines if one.get("step") == "call"]
    assert calls
    assert all(one["process"] and one["worker"].startswith("call1@") for one in calls)
    done = [one for one in calls if "succeeded" in one["event"]]
    assert "1 sent, 1 ok" in done[-1]["event"]


def test_the_last_lines_only(yard, ran) -> None:
    assert len(told(yard, "-n", "3")) == 3
    assert told(yard, "-n", "0") == []


def test_people_get_one_line_each_without_colour_in_a_pipe(yard, ran) -> None:
    said = yard("logs", "worker-call-1")
    assert "the yard is open" in said.out
    assert "\x1b" not in said.out


def test_no_prompt_and_no_key_is_in_any_log(yard, ran) -> None:
    for log in (yard.folder / "home" / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert "something private" not in text, log.name
        assert KEY not in text, log.name


def test_it_can_be_followed(yard, ran) -> None:
    argv = [*yard.argv, "logs", "worker", "-n", "1", "--follow", "--json"]
    with subprocess.Popen(
        argv, cwd=yard.folder, env=yard.env, stdout=subprocess.PIPE, text=True
    ) as follower:
        try:
            assert follower.stdout is not None
            last = json.loads(follower.stdout.readline())
            job = yard("submit", "-", "--json", stdin='{"prompt": "x"}\n').json["id"]
            assert yard("watch", job).code == 0
            added = json.loads(follower.stdout.readline())
            assert added["service"].startswith("worker-")
            assert added["timestamp"] > last["timestamp"]
        finally:
            follower.terminate()


def test_an_unknown_service_is_answered_with_the_known_ones(yard) -> None:
    said = yard("logs", "nobody")
    assert said.code == 2
    assert "worker-control" in said.err


def test_a_moment_that_is_none_is_refused_with_the_fix(yard) -> None:
    said = yard("logs", "--since", "yesterday")
    assert said.code == 2
    assert "10m" in said.err


def test_where_nothing_ran_there_is_nothing_to_read(program) -> None:
    said = program("logs")
    assert said.code == 3
    assert "batchyard up" in said.err
