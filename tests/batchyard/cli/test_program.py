import json

import pytest

from batchyard.cli.lazy import _load
from batchyard.cli.program import run
from batchyard.cli.registry import COMMANDS, ROUTER_COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"batchyard {name}" in said
    assert "Examples:" in said


@pytest.mark.parametrize("name", ROUTER_COMMANDS)
def test_every_command_of_the_router_has_help_with_examples(name, capsys):
    assert run(["router", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"batchyard router {name}" in said
    assert "Examples:" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name):
    command = _load(name, COMMANDS[name])
    lazy = getattr(command, "table", {})
    members = [_load(inner, entry) for inner, entry in lazy.items()]
    for member in members or list(getattr(command, "commands", {}).values()) or [command]:
        assert "--json" in {option for param in member.params for option in param.opts}


def test_help_tells_every_command_the_exit_codes_and_the_environment(program):
    said = program.process("--help")
    assert said.code == 0
    for word in (*COMMANDS, "Exit codes", "BATCHYARD_HOME"):
        assert word in said.out
    assert "\x1b" not in said.out


def test_the_help_of_the_program_imports_nothing_heavy(program):
    said = program.process("--help", PYTHONPROFILEIMPORTTIME="1")
    for heavy in ("celery", "sqlalchemy", "alembic", "genai_prices", "psycopg", "rich.console"):
        assert f" {heavy}\n" not in said.err, heavy


@pytest.mark.parametrize(
    "line", [("pause", "1"), ("resume", "1"), ("cancel", "1"), ("ps",), ("deployments",), ("jobs",)]
)
def test_what_only_asks_postgres_imports_neither_celery_nor_prices(line, program):
    nowhere = {"BATCHYARD_DATABASE_URL": "postgresql://me@127.0.0.1:9/yard"}
    said = program.process(*line, PYTHONPROFILEIMPORTTIME="1", **nowhere)
    assert said.code == 3
    for heavy in ("celery", "kombu", "genai_prices", "sqlalchemy", "prometheus_client", "numpy"):
        assert f" {heavy}\n" not in said.err, heavy


def test_without_arguments_the_help_is_shown_as_a_usage_error(program):
    said = program()
    assert said.code == 2
    assert "Usage: batchyard" in said.err
    assert "error:" not in said.err


def test_a_typing_mistake_is_answered_with_the_nearest_command(program):
    said = program("dwon")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "'down'" in said.err


def test_usage_errors_are_json_where_json_was_asked_for(program):
    said = program("up", "--workers", "many", "--json")
    assert said.code == 2
    assert said.error["type"] == "BadParameter"
    assert "--workers" in said.error["message"]


NEEDS_A_YARD = [
    ("ps",),
    ("env",),
    ("flower",),
    ("migrate",),
    ("jobs",),
    ("job", "1"),
    ("watch", "1"),
    ("results", "1"),
    ("errors", "1"),
    ("cancel", "1"),
    ("delete", "1", "--yes"),
    ("audit",),
    ("explain", "1"),
]


@pytest.mark.parametrize("line", [line for line in NEEDS_A_YARD if line[0] in COMMANDS])
def test_without_a_yard_the_error_names_the_remedy(line, program):
    said = program(*line, "--json")
    assert said.code == 3
    assert said.error["type"] == "ServiceError"
    assert "batchyard up" in said.error["message"]
    assert said.out == ""


def test_an_error_is_one_line_without_traceback_or_colour(program):
    said = program("flower")
    assert said.code == 3
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


def test_down_without_a_yard_is_no_error(program):
    assert program("down", "--json").json == {"stopped": False}


def test_an_outside_server_that_does_not_answer_is_unreachable(program):
    nowhere = "postgresql://me:secret@127.0.0.1:9/yard"
    said = program("migrate", "--json", BATCHYARD_DATABASE_URL=nowhere)
    assert said.code == 3
    assert "secret" not in said.err
    assert "BATCHYARD_DATABASE_URL" in said.error["message"]


ASK_POSTGRES = [line for line in NEEDS_A_YARD if line[0] not in ("env", "flower")]


@pytest.mark.parametrize("line", [*ASK_POSTGRES, ("up",), ("submit", "x.jsonl")])
def test_an_address_that_is_none_is_a_line_without_traceback(line, program):
    said = program(*line, BATCHYARD_DATABASE_URL="mysql://me:secret@db/yard")
    assert said.code == 2
    assert said.err.startswith("error: BATCHYARD_DATABASE_URL")
    assert said.err.count("\n") == 1
    assert "secret" not in said.err


NOWHERE = [("BROKER", "redis://127.0.0.1:1/0"), ("DATABASE", "postgresql://127.0.0.1:1/yard")]


@pytest.mark.parametrize(("name", "url"), NOWHERE)
def test_nothing_is_started_beside_a_server_that_is_away(name, url, program):
    said = program("up", "-d", "--json", **{f"BATCHYARD_{name}_URL": url})
    assert said.code == 3
    assert "at 127.0.0.1:1 does not answer" in said.error["message"]
    assert not (program.folder / "home" / "services.json").exists()


def test_a_step_down_says_what_goes_and_asks(inn, program):
    inn.submit(["a"])
    here = {"BATCHYARD_DATABASE_URL": inn.database_url}
    said = program("migrate", "--revision", "base", "--json", **here)
    assert said.code == 2
    assert "1 job with 0 results" in said.error["message"]
    assert program("migrate", "--revision", "base", stdin="n\n", **here).code == 1
    said = program("migrate", "--revision", "base", **here)
    assert said.code == 2
    assert "--yes" in said.err
    assert inn.rows("select count(*) from jobs") == [(1,)]
    assert program("migrate", "--revision", "base", stdin="y\n", **here).code == 0


def test_a_key_that_is_nowhere_is_a_warning(program):
    file = program.folder / "lab.yaml"
    settings = {
        "providers": {"lab": {"base_url": "http://127.0.0.1:9/v1", "api_key": "env:LAB_KEY"}},
        "deployments": {"small": {"provider": "lab", "model": "m"}},
        "routes": {"default": {"candidates": ["small"]}},
    }
    file.write_text(json.dumps(settings))
    said = program("config", "check", "lab.yaml")
    assert (said.code, said.out) == (0, "fine: 1 provider, 1 deployment, 1 route\n")
    assert "warning: key of lab" in said.err
    assert "export LAB_KEY" in said.err
    [warning] = program("config", "check", "lab.yaml", "--json").json["warnings"]
    assert "LAB_KEY" in warning
    assert program("config", "check", "lab.yaml", LAB_KEY="k").err == ""


def test_without_a_default_route_a_check_says_what_submits_need(program):
    settings = {
        "providers": {"lab": {"base_url": "http://127.0.0.1:9/v1"}},
        "deployments": {"small": {"provider": "lab", "model": "m"}},
        "routes": {"cheap": {"candidates": ["small"]}},
    }
    (program.folder / "lab.yaml").write_text(json.dumps(settings))
    said = program("config", "check", "lab.yaml")
    assert (said.code, said.out) == (0, "fine: 1 provider, 1 deployment, 1 route\n")
    assert "warning: no route is named default" in said.err
    [warning] = program("config", "check", "lab.yaml", "--json").json["warnings"]
    assert "--route" in warning
    settings["routes"]["default"] = {"candidates": ["small"]}
    (program.folder / "lab.yaml").write_text(json.dumps(settings))
    assert program("config", "check", "lab.yaml").err == ""


def test_a_finding_says_its_line_and_what_would_fit(program):
    file = program.folder / "bad.yaml"
    file.write_text(
        "providers:\n"
        "  lab:\n"
        "    base_url: http://models.example.org/v1\n"
        "    api_key: env:LAB_KEY\n"
        "    timeout: soon\n"
        "deployments: {small: {provider: lab, model: m}}\n"
        "routes: {default: {candidates: [small]}}\n"
    )
    said = program("config", "check", "bad.yaml")
    place = "bad.yaml:5: providers.lab.timeout: "
    told = "'soon' is not a number of seconds. Write e.g. 0.5, without a unit"
    assert said.err == f"error: {place}{told}\n"
    file.write_text(file.read_text().replace("soon", "5"))
    assert (
        "bad.yaml:3: providers.lab.base_url: would send"
        in program("config", "check", "bad.yaml").err
    )


def test_a_choice_that_is_none_names_the_choices(program):
    said = program("results", "1", "--format", "xml")
    assert said.code == 2
    assert "'xml' is not one of 'jsonl', 'csv'" in said.err
    assert "Value error" not in said.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_that_of_the_shell_named(shell, program):
    said = program("completion", shell, SHELL="/bin/sh")
    assert f"_BATCHYARD_COMPLETE=complete_{shell}" in said.out
    assert program("completion", "cmd").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_commands(shell, program):
    given = {"COMP_WORDS": "batchyard do", "COMP_CWORD": "1"}
    others = {"_TYPER_COMPLETE_ARGS": "batchyard do", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    said = program(_BATCHYARD_COMPLETE=f"complete_{shell}", **given, **others)
    assert "down" in said.out
    assert "doctor" in said.out


def test_a_broken_configuration_starts_nothing(program):
    file = program.folder / "bad.yaml"
    file.write_text("providers: {lab: {kind: openai, base_url: 'http://127.0.0.1:9/v1'}}\n")
    said = program("up", "-d", "--config", str(file), "--json")
    assert said.code == 2
    assert said.error["type"] == "ConfigError"
    assert not (program.folder / "home" / "services.json").exists()


def test_a_broken_simulator_profile_starts_nothing(program):
    file = program.folder / "bad.yaml"
    settings = {
        "providers": {"lab": {"kind": "simulator", "profile": {"latncy": {"ms": 3}}}},
        "deployments": {"small": {"provider": "lab", "model": "m"}},
        "routes": {"default": {"candidates": ["small"]}},
    }
    file.write_text(json.dumps(settings))
    said = program("up", "-d", "--config", str(file), "--json")
    assert said.code == 2
    assert "providers.lab.profile" in said.error["message"]
    assert "latency" in said.error["message"]
    assert not (program.folder / "home" / "services.json").exists()
