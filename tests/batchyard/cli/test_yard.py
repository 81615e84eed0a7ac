import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(errors="replace")


def services(yard) -> dict[str, dict]:
    return {one["name"]: one for one in yard("ps", "--json").json["services"]}


def test_everything_is_up(yard):
    up = services(yard)
    assert {"postgres", "valkey", "simulator", "worker-control", "beat", "flower"} <= set(up)
    assert up["worker-call-1"]["state"] == "ready"
    assert up["migrate"]["state"] == "done"


def test_up_again_says_so_and_is_content(yard):
    said = yard("up")
    assert said.code == 0
    assert "already runs" in said.out
    assert yard("up", "-d", "--json").json["state"] == "ready"


def test_ps_shows_queues_deployments_and_leases(yard):
    told = yard("ps", "--json").json
    assert [one["queue"] for one in told["queues"]] == ["provider.lab", "provider.gone"]
    assert {one["deployment"]: one["state"] for one in told["deployments"]} == {
        "small": "open",
        "absent": "open",
    }
    names = {one["name"].partition("@")[0] for one in told["workers"] if one["lease"] > 0}
    assert names == {"control", "call1"}


def test_ps_for_people_has_no_colour_in_a_pipe(yard):
    said = yard("ps")
    assert "provider.lab" in said.out
    assert "\x1b" not in said.out


def test_doctor_finds_the_deployment_that_is_not_there(yard):
    said = yard("doctor", "--json")
    assert said.code == 3
    bad = {one["name"]: one for one in said.json["checks"] if not one["ok"]}
    assert set(bad) == {"deployment absent"}
    assert "providers.gone.base_url" in bad["deployment absent"]["fix"]
    assert yard.env["GONE_API_KEY"] not in said.out


def test_doctor_finds_the_key_that_is_not_set(yard):
    said = yard("doctor", "--json", GONE_API_KEY="")
    assert "key of gone" in {one["name"] for one in said.json["checks"] if not one["ok"]}


def test_provider_keys_reach_only_the_workers_that_call(yard):
    up = services(yard)
    assert yard.env["GONE_API_KEY"] in environment_of(up["worker-call-1"]["pid"])
    for name in ("worker-control", "beat", "flower", "simulator", "postgres", "valkey"):
        assert yard.env["GONE_API_KEY"] not in environment_of(up[name]["pid"]), name


def standing(yard) -> dict[str, tuple[str, str]]:
    told = yard("deployments", "--json").json["deployments"]
    return {one["deployment"]: (one["state"], one["fix"]) for one in told}


def test_an_operator_pauses_drains_and_resumes_a_deployment(yard):
    assert set(standing(yard).values()) == {("open", "")}
    for command, state in (("pause", "paused"), ("drain", "drained")):
        assert yard("deployments", command, "absent", "--json").json == {
            "deployments": ["absent"],
            "state": state,
        }
        found, fix = standing(yard)["absent"]
        assert found == state
        assert "batchyard deployments resume absent" in fix
        assert state in yard("ps").out
        checks = {one["name"]: one for one in yard("doctor", "--json").json["checks"]}
        assert not checks["state of absent"]["ok"]
    assert yard("deployments", "resume", "absent", "--json").json["opened"] == ["absent"]
    assert standing(yard)["absent"] == ("open", "")
    said = yard("deployments", "pause", "smal", "--json")
    assert said.code == 2
    assert "Did you mean small?" in said.error["message"]


def test_a_paused_deployment_sends_nothing_until_it_is_resumed(yard):
    yard("deployments", "pause", "small")
    submitted = yard("submit", "-", "--json", stdin='{"prompt": "hello"}\n')
    job = submitted.json["id"]
    try:
        deadline = time.monotonic() + 60
        while "small is paused" not in (why := yard("job", job, "--json").json["waits_for"]):
            assert time.monotonic() < deadline, why
        told = yard("explain", job, "request-1").out
        assert "deployment small is paused (by an operator" in told
    finally:
        yard("deployments", "resume", "small")
    assert yard("watch", job).code == 0
    assert yard("job", job, "--json").json["status"] == "completed"


def test_ps_shows_how_full_the_limits_are(yard):
    assert yard("submit", "-", "--watch", stdin='{"prompt": "hello"}\n').code == 0
    told = {one["scope"]: one for one in yard("ps", "--json").json["limits"]}
    assert set(told) == {"small"}
    # Its provider answers 429 to one call in twenty: what has run before tells how far that cut.
    assert 0.5 <= told["small"]["factor"] <= 1
    assert told["small"]["pause_s"] >= 0
    assert "LIMITS OF" in yard("ps").out


def test_how_a_deployment_fares_is_shown(yard):
    assert yard("submit", "-", "--watch", stdin='{"prompt": "hello"}\n').code == 0

    def small() -> dict:
        return yard("deployments", "--json").json["deployments"][0]

    deadline = time.monotonic() + 60
    while not small()["answered"]:
        assert time.monotonic() < deadline
    assert {"in_flight", "failed", "rate", "latency_ms", "key"} <= set(small())
    said = yard("deployments").out
    assert "ANSWERED" in said
    assert "env:GONE_API_KEY" in said


def test_no_password_is_on_a_command_line(yard):
    stored = json.loads((yard.folder / "home" / "secrets.json").read_text())
    for one in services(yard).values():
        if one["pid"]:
            line = Path(f"/proc/{one['pid']}/cmdline").read_text()
            assert not any(secret in line for secret in stored.values()), one["name"]


def flower_call(yard, path: str, *, method: str = "GET", login: bool = True) -> int:
    told = yard("flower", "--json").json
    request = urllib.request.Request(told["url"] + path, method=method)
    if login:
        password = json.loads(Path(told["password_file"]).read_text())["flower"]
        word = base64.b64encode(f"{told['user']}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_flower_wants_its_password_and_only_lets_look(yard):
    assert flower_call(yard, "/workers", login=False) == 401
    assert flower_call(yard, "/workers") == 200
    shutdown = "/api/worker/shutdown/control@nowhere"
    assert flower_call(yard, shutdown, method="POST") in (403, 405)


def test_a_configuration_edited_meanwhile_does_not_split_the_yard(yard):
    file = yard.folder / "batchyard.yaml"
    before = file.read_text()
    file.write_text(before.replace("my-8b", "other-8b"))
    try:
        assert "other-8b" not in json.dumps(yard("config", "show", "--json").json)
    finally:
        file.write_text(before)


def test_a_worker_of_your_own_is_told_where_the_yard_is(yard):
    told = yard("env", "--json").json
    with psycopg.connect(told["BATCHYARD_DATABASE_URL"]) as conn:
        assert conn.execute("select count(*) from processes").fetchone()[0] > 0
    assert set(told) >= {"BATCHYARD_BROKER_URL", "BATCHYARD_LIMITER_URL", "BATCHYARD_CONFIG"}
    lines = yard("env").out.splitlines()
    assert all(line.startswith("export BATCHYARD_") for line in lines)
    assert yard.env["GONE_API_KEY"] not in "".join(lines)


def test_no_step_down_while_the_yard_runs(yard):
    said = yard("migrate", "--revision", "base", "--yes", "--json")
    assert said.code == 1
    assert "batchyard down" in said.error["message"]


def test_migrate_is_repeatable(yard):
    assert yard("migrate", "--json").json == {"revision": "head"}


def test_two_at_once_make_one_yard(program):
    (program.folder / "batchyard.yaml").write_text(
        "providers: {lab: {base_url: 'http://127.0.0.1:9/v1'}}\n"
        "deployments: {small: {provider: lab, model: m}}\n"
        "routes: {default: {candidates: [small]}}\n"
    )
    argv = [*program.argv, "up", "-d", "--no-flower", "--json"]
    both = [
        subprocess.Popen(argv, cwd=program.folder, env=program.env, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        told = [json.loads(one.communicate(timeout=100)[0]) for one in both]
        assert [one.returncode for one in both] == [0, 0]
        assert told[0]["supervisor_pid"] == told[1]["supervisor_pid"]
    finally:
        assert program("down", "--json").json == {"stopped": True}


@pytest.mark.parametrize("tool", ["simulator"])
def test_a_simulator_by_itself(tool, program):
    said = program(tool, "--check", "--json")
    assert said.json == {"models": {"default": ["*"]}}


# Jobs.


def lines(count: int) -> str:
    return "".join(json.dumps({"prompt": f"Say {n}"}) + "\n" for n in range(1, count + 1))


@pytest.fixture(scope="module")
def done(yard) -> str:
    """A completed job of forty requests."""
    (yard.folder / "in.jsonl").write_text(lines(40))
    said = yard(
        "submit", "in.jsonl", "--budget", "1", "-m", "team=nlp", "--name", "forty", "--json"
    )
    assert said.code == 0, said.err
    assert yard("watch", said.json["id"]).code == 0
    return said.json["id"]


def test_submit_prints_the_id_alone_and_says_where_to_look(yard, done):
    said = yard("submit", "-", stdin=lines(3))
    assert said.code == 0
    assert said.out.strip().startswith("job_")
    assert said.out.count("\n") == 1
    assert "batchyard results" in said.err


def test_submit_says_what_a_budget_is_up_against(yard):
    said = yard("submit", "-", "--budget", "0.00001", "--skip-bad-lines", stdin=lines(3) + "{\n")
    assert "1 line was refused: batchyard errors job_" in said.err
    assert "requests without max_tokens may answer with up to 4,096 tokens" in said.err
    assert "all calls together cost at most about $0.00" in said.err
    assert "the budget may end the job" in said.err
    job = said.out.strip()
    assert yard("watch", job).code == 1
    told = yard("errors", job).out
    assert "3 requests failed" in told
    assert "the request alone may cost $0.0017" in told
    assert "the whole budget is $0.00001. Lower its max_tokens" in told
    told = yard("submit", "-", "--budget", "1", "--json", stdin=lines(3)).json
    assert (told["requests"], told["refused"], told["default_output"]) == (3, 0, 4096)


def test_a_job_for_scripts(yard, done):
    told = yard("job", done, "--json").json
    assert told["id"] == done
    assert told["status"] == "completed"
    assert (told["total"], told["completed"], told["failed"]) == (40, 40, 0)
    assert Decimal(told["cost_usd"]) > 0
    assert isinstance(told["cost_usd"], str)
    assert told["metadata"] == {"team": "nlp"}
    assert told["by_deployment"][0]["deployment"] == "small"


def test_a_job_for_people(yard, done):
    said = yard("job", done.removeprefix("job_"))
    assert "40 of 40" in said.out
    assert "small" in said.out
    assert "of $1" in said.out


def test_results_are_in_input_order_and_whole(yard, done):
    found = [json.loads(line) for line in yard("results", done).out.splitlines()]
    assert [one["custom_id"] for one in found] == [f"request-{n}" for n in range(1, 41)]
    assert all(one["response"]["status_code"] == 200 for one in found)
    assert set(found[0]["batchyard"]) >= {"deployment", "attempts", "cost_usd", "usage", "route"}


def test_results_in_a_file_appear_whole(yard, done):
    said = yard("results", done, "-o", "out.csv", "--format", "csv", "--json")
    assert said.json == {"path": "out.csv", "lines": 40}
    assert (yard.folder / "out.csv").read_text().startswith("custom_id,")
    assert not list(yard.folder.glob("*.part"))


def test_a_reader_that_has_had_enough_is_no_traceback(yard, done):
    writer = subprocess.Popen(
        [*yard.argv, "results", done],
        cwd=yard.folder,
        env=yard.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    writer.stdout.close()
    assert writer.communicate(timeout=60)[1] == b""
    assert writer.returncode == 141


def test_watch_for_scripts_ends_with_the_whole_job(yard, done):
    said = yard("watch", done, "--json")
    assert said.code == 0
    assert json.loads(said.out.splitlines()[-1])["completed"] == 40


def test_errors_are_told_by_class(yard, done):
    told = yard("errors", done, "--json").json
    assert told["id"] == done
    assert {one["class"] for one in told["errors"]} <= {"throttled"}


def test_explain_tells_a_request_its_calls(yard, done):
    told = yard("explain", done, "request-7", "--json").json
    assert told["request"]["row"] == 7
    assert told["outcome"]["status"] == "completed"
    assert told["calls"][-1]["status"] == "ok"
    assert "completed by small" in yard("explain", done, "request-7").out
    assert "History" in yard("explain", done).out


def test_the_audit_agrees(yard, done):
    told = yard("audit", done, "--json")
    assert told.code == 0
    assert told.json["ok"] is True
    assert told.json["facts"]["requests"] == 40
    assert Decimal(told.json["facts"]["spent_usd"]) > 0
    assert "ledger adds up" in yard("audit", done).out


def test_the_audits_exit_code_says_what_it_found(yard):
    (yard.folder / "one.jsonl").write_text(lines(2))
    job = yard("submit", "one.jsonl", "--json").json["id"]
    assert yard("watch", job, "--json").code == 0
    url = json.loads((yard.folder / "home" / "services.json").read_text())["database_url"]
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "delete from results where job_id = %s and seq = 1", [job.removeprefix("job_")]
        )
    said = yard("audit", job, "--json")
    assert said.code == 1
    assert said.json["ok"] is False
    assert said.json["violations"]
    assert yard("delete", job, "--yes", "--json").json == {"id": job, "deleted": True}


def test_a_cancelled_job_ends_and_can_be_deleted(yard):
    (yard.folder / "many.jsonl").write_text(lines(3000))
    job = yard("submit", "many.jsonl", "--json").json["id"]
    assert yard("delete", job, "--yes", "--json").code == 1
    assert yard("cancel", job, "--json").json["status"] in ("cancelling", "cancelled")
    said = yard("watch", job, "--json")
    assert said.code == 1
    assert json.loads(said.out.splitlines()[-1])["status"] == "cancelled"
    assert yard("cancel", job).code in (0, 1)
    assert yard("audit", job).code == 0
    assert yard("delete", job, "--json").code == 2
    assert yard("delete", job, "--yes").code == 0
    assert yard("job", job).code == 2


def test_jobs_lists_the_newest_first(yard, done):
    told = yard("jobs", "--json").json
    ids = [int(one["id"].removeprefix("job_")) for one in told]
    assert ids == sorted(ids, reverse=True)
    assert done in {one["id"] for one in told}
    assert "forty" in yard("jobs").out


def test_bad_lines_are_listed_with_line_field_and_fix(yard):
    bad = '{"prompt": "fine"}\nnonsense\n{"prompt": 3}\n{"prompt": "x", "model": "nobody"}\n'
    said = yard("submit", "-", stdin=bad)
    assert said.code == 2
    assert said.out == ""
    assert "line 2" in said.err
    assert "line 3, prompt" in said.err
    assert "line 4, model" in said.err
    problems = yard("submit", "-", "--json", stdin=bad).error["problems"]
    assert [one["line"] for one in problems] == [2, 3, 4]
    assert all(one["fix"] for one in problems)


def test_bad_lines_can_be_skipped(yard):
    said = yard("submit", "-", "--skip-bad-lines", "--json", stdin='{"prompt": "a"}\nnonsense\n')
    assert said.code == 0
    yard("watch", said.json["id"])
    told = yard("job", said.json["id"], "--json").json
    assert (told["completed"], told["failed"]) == (1, 1)


def test_garbage_is_refused_with_at_most_a_hundred_problems(yard):
    (yard.folder / "garbage.bin").write_bytes(bytes(range(256)) * 400)
    said = yard("submit", "garbage.bin", "--json")
    assert said.code == 2
    assert 1 <= len(said.error["problems"]) <= 100
    assert "Traceback" not in said.err


WRONG = [
    ("submit", "nowhere.jsonl"),
    ("submit", "in.jsonl", "--budget", "-3"),
    ("submit", "in.jsonl", "--route", "nobody"),
    ("submit", "in.jsonl", "-m", "novalue"),
    ("job", "none"),
    ("job", "999999"),
    ("explain", "999999", "x"),
    ("results", "999999"),
    ("audit", "999999"),
]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_input_ends_with_two(line, yard, done):
    said = yard(*line, "--json")
    assert said.code == 2
    assert said.error["message"]
    assert said.out == ""


def test_ids_of_jobs_are_completed(yard, done):
    said = yard(
        _BATCHYARD_COMPLETE="complete_bash", COMP_WORDS="batchyard job job_", COMP_CWORD="2"
    )
    assert done in said.out.split()


def test_routes_and_deployments_are_completed(yard):
    words = "batchyard submit x --route "
    said = yard(_BATCHYARD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="4")
    assert said.out.split() == ["default", "small", "absent"]
