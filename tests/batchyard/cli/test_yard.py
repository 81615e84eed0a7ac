import base64
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

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
    kinds = {one["kind"].partition("@")[0] for one in told["workers"] if one["lease"] > 0}
    assert kinds == {"control", "call1"}


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
