import pytest


@pytest.fixture
def asked(inn, program):
    """The program on a database with a job in each of two projects: (default's, research's)."""
    jobs = inn.submit(["a"]), inn.submit(["b"], project="research", weight=2)

    def run(*args: str, **env: str):
        return program(*args, BATCHYARD_DATABASE_URL=inn.database_url, **env)

    return run, jobs


@pytest.mark.parametrize("command", ["job", "watch", "results", "errors", "explain", "audit"])
def test_every_command_looks_into_one_project(asked, command: str) -> None:
    run, (_, other) = asked
    said = run(command, str(other), "--json")
    assert (said.code, said.error["type"]) == (2, "NotFoundError")
    if command == "watch":
        return
    assert run(command, str(other), "--project", "research", "--json").code == 0
    assert run(command, str(other), "--json", BATCHYARD_PROJECT="research").code == 0


def test_a_job_shows_its_project_and_weight(asked) -> None:
    run, (mine, other) = asked
    told = run("job", str(other), "-p", "research", "--json").json
    assert (told["project"], told["weight"], told["paused"]) == ("research", 2, False)
    assert "project research  weight 2" in run("job", str(other), "-p", "research").out
    assert "project" not in run("job", str(mine)).out


def test_projects_are_listed_with_what_they_spent(asked) -> None:
    run, _ = asked
    assert run("projects", "--json").json == [
        {"project": name, "weight": 1, "active_jobs": 1, "jobs": 1, "spent_usd": "0"}
        for name in ("default", "research")
    ]
    assert "research" in run("projects").out
