"""The versions of router models on the command line."""

import pytest

from db.router_models import put_model


@pytest.fixture
def run(inn, program):
    """The program on a database with two versions of a model."""
    inn.submit(["a"])
    for apgr in (0.61, 0.644):
        info = {"candidates": ["small", "large"], "rows": 1500, "apgr": apgr}
        inn.ask(put_model, "tickets", "choice", b"12345", info)

    def called(*args: str):
        return program("router", *args, BATCHYARD_DATABASE_URL=inn.database_url)

    return called


def test_versions_are_listed_and_one_is_promoted_by_hand(run) -> None:
    assert run("promote", "tickets", "1").out == "tickets: routes go by version 1 now\n"
    listed = run("list", "--json").json
    assert [(one["version"], one["promoted"], one["bytes"]) for one in listed] == [
        (2, False, 5),
        (1, True, 5),
    ]
    told = run("list").out
    assert "small, large" in told
    assert "apgr 0.644" in told
    assert run("show", "tickets", "--json").json["info"]["apgr"] == 0.61
    assert "version 2, for choice" in run("show", "tickets", "2").out
    assert run("promote", "tickets", "2", "--json").json["promoted"]
    assert "promoted" in run("show", "tickets").out


def test_what_is_not_there_is_told_with_what_is(run) -> None:
    said = run("show", "ticket", "--json")
    assert (said.code, said.error["type"]) == (2, "NotFoundError")
    assert "There are: tickets" in said.error["message"]
    assert "It has 2, 1" in run("promote", "tickets", "9").err
