"""The local model answers for real: OpenAI's shape, usage, output held to a grammar."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from batchyard.embedded import model
from batchyard.embedded.child import Launch, start, tail
from batchyard.embedded.errors import MissingBinariesError
from batchyard.embedded.home import Home
from batchyard.embedded.service import Service

LABELS = ["card", "transfer", "account"]


def run(service: Service, log: Path) -> Any:
    child = start(Launch(argv=service.argv, log=log, env=service.env, cwd=service.cwd))
    deadline = time.monotonic() + 90
    while not service.ready(child.pid):
        assert child.poll() is None, tail(log)
        assert time.monotonic() < deadline, tail(log)
        time.sleep(0.1)
    return child


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = Home(tmp_path_factory.mktemp("home"))
    home.create()
    made = model.model_service(home, parallel=2, context=256)
    child = run(made, home.log(made.name))
    yield made
    child.signal(made.stop_signal)
    ended = child.wait(20.0)
    if ended is None:
        child.kill()
        child.wait(5.0)
    assert ended is not None, "SIGTERM did not end it"
    assert ended.code == 0


def ask(service: Service, **fields: Any) -> dict[str, Any]:
    body = {"model": model.MODEL, "temperature": 0, "max_tokens": 24, **fields}
    body.setdefault("messages", [{"role": "user", "content": "My new card has not come. Topic?"}])
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=90) as reply:
        return dict(json.load(reply))


def text(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


def test_answers_with_usage(service: Service) -> None:
    reply = ask(service, max_tokens=4)
    assert text(reply)
    assert reply["usage"]["prompt_tokens"] > 8
    assert 1 <= reply["usage"]["completion_tokens"] <= 4


def test_a_grammar_holds_the_answer(service: Service) -> None:
    grammar = "root ::= " + " | ".join(f'"{label}"' for label in LABELS)
    assert text(ask(service, grammar=grammar)) in LABELS


def test_a_json_schema_holds_the_answer(service: Service) -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"enum": LABELS}},
        "required": ["label"],
        "additionalProperties": False,
    }
    reply = ask(
        service,
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    )
    assert json.loads(text(reply))["label"] in LABELS


def test_eight_at_once_are_all_answered(service: Service) -> None:
    grammar = 'root ::= "yes" | "no"'
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(service, grammar=grammar), range(8)))
    assert {text(reply) for reply in replies} <= {"yes", "no"}


def test_running_prompts_are_not_shown(service: Service) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{service.port}/slots", timeout=10)
    caught.value.close()
    assert caught.value.code == 501


def test_a_request_in_flight_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    made = model.model_service(home, parallel=1, context=2048)
    child = run(made, home.log(made.name))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, made, max_tokens=2000, ignore_eos=True)
        time.sleep(0.5)
        child.signal(made.stop_signal)
        ended = child.wait(10.0)
        if ended is None:
            child.kill()
            child.wait(5.0)
        assert isinstance(answer.exception(), OSError)
    assert ended is not None
    assert ended.code == 0


def test_ends_with_its_parent(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    made = model.model_service(home, parallel=1, context=256)
    program = (
        "import subprocess, sys, time; "
        "print(subprocess.Popen(sys.argv[1:], stdout=2).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, *made.argv],
        env=made.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    deadline = time.monotonic() + 90
    while not made.ready(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert made.ready(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while made.ready(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    still = made.ready(pid)
    if still:
        os.kill(pid, signal.SIGKILL)
    assert not still


def test_says_the_way_out_where_there_is_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "find_spec", lambda _name: None)
    with pytest.raises(MissingBinariesError, match="kind: openai"):
        model.model_service(Home(tmp_path))
