"""What people and scripts are told of a job's end: failures are never a green bar and a zero."""

import pytest

from batchyard.cli.jobview import bar
from db.jobs import job_view


@pytest.fixture
def job(inn, program):
    """Ends a job of ten requests; returns its number and the program on its database."""

    def ended(status: str = "completed", **counts: int):
        number = inn.submit([str(n) for n in range(10)])
        inn.put("job_counters", job_id=number, deployment="small", writer=1, **counts)
        inn.rows("update chunks set status = 'done'")
        stop = None if status == "completed" else status
        inn.rows(
            "update jobs set status = %s, stop = %s, ended_at = now() where id = %s",
            status, stop, number,
        )  # fmt: skip

        def run(*args: str):
            return program(*args, BATCHYARD_DATABASE_URL=inn.database_url)

        return number, run

    return ended


@pytest.mark.parametrize(
    ("completed", "failed", "code"), [(10, 0, 0), (9, 1, 1), (0, 10, 1)]
)  # fmt: skip
def test_watching_ends_well_only_when_all_were_answered(job, completed, failed, code) -> None:
    number, run = job(completed=completed, failed=failed)
    assert run("watch", str(number), "--json").code == code
    said = run("watch", str(number))
    assert said.code == code
    assert (f"{failed} failed" in said.out) is bool(failed)


@pytest.mark.parametrize(
    ("completed", "failed", "colours"),
    [(10, 0, "green"), (0, 10, "red"), (9, 1, "green red"), (5, 0, "cyan dim")],
)
def test_the_bar_shows_failures_in_red(inn, job, completed, failed, colours) -> None:
    number, _ = job(completed=completed, failed=failed)
    spans = bar(inn.ask(job_view, number)).spans
    assert " ".join(str(one.style) for one in spans if one.end > one.start) == colours


def test_nothing_went_wrong_is_said_only_where_all_was_run(inn, job) -> None:
    number, run = job(completed=10)
    assert "nothing went wrong" in run("errors", str(number)).err
    number, run = job("cancelled", completed=4)
    said = run("errors", str(number))
    assert said.out.strip() == "cancelled  6 requests not run: the job was cancelled"
    assert said.err == ""
    assert run("errors", str(number), "--json").json["not_run"]["requests"] == 6


def test_a_spent_budget_says_what_it_would_have_taken(inn, job) -> None:
    number, run = job("budget_exhausted", completed=9)
    inn.put(
        "chunks", job_id=number, part=inn.part(number), size=1, seqs=[9], tries=[0], calls=[0],
        tokens=[5], bounds=[1_600_000], status="done", deployment="small",
    )  # fmt: skip
    inn.rows("update accounts set limit_nusd = 10000 where kind = 'job'")
    said = run("errors", str(number)).out
    assert "1 request not run: the budget is $0.00001, spent $0" in said
    assert "the cheapest call left may cost $0.0016" in said
    assert "max_tokens" in said


def test_what_providers_reported_and_nobody_booked_is_told(inn, job) -> None:
    number, run = job(completed=10, cost_nusd=12_300_000, unbooked_nusd=4_000_000_000)
    told = " ".join(run("job", str(number)).out.split())
    assert "not booked: small reports $4.00 more than its calls were reserved for" in told
    assert run("job", str(number), "--json").json["unbooked_usd"] == "4"


def test_no_active_jobs_is_no_invitation(job) -> None:
    _, run = job(completed=10)
    assert run("jobs", "--active").err == "no active jobs\n"


def test_a_view_reads_as_what_it_is(inn, job) -> None:
    number, _ = job(completed=9, failed=1, cost_nusd=12_300_000)
    told = repr(inn.ask(job_view, number))
    assert told == f"<job_{number} completed: 9 of 10 completed, 1 failed, $0.0123>"
