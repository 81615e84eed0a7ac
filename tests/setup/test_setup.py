"""From a clone to a running program with nothing but Python, make, gcc and git."""

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.setup, pytest.mark.timeout(600)]

DEEP = [f"a-folder-with-a-rather-long-name-{number}" for number in range(6)]


def test_installs_from_nothing_in_a_deep_folder(anyones_machine) -> None:
    machine = anyones_machine
    checkout = machine.checkout(*DEEP, "batchyard")
    assert "installing" in machine.run(checkout, "make", "setup")

    stamp = (checkout / ".venv/.ok").stat().st_mtime_ns
    machine.run(checkout, "make", "setup")
    assert (checkout / ".venv/.ok").stat().st_mtime_ns == stamp, "the second run did it all again"

    # The program, and the rooms from any folder.
    assert "submit" in machine.run(Path("/"), str(checkout / ".venv/bin/batchyard"), "--help")
    rooms = "import core, routing, providers, db, tasks, workers, batchyard; print(db.__file__)"
    said = machine.run(Path("/"), str(checkout / ".venv/bin/python"), "-c", rooms)
    assert said.strip() == str(checkout / "db/__init__.py")
    assert "-m batchyard demo" in machine.run(checkout, "make", "-n", "demo")


def test_two_checkouts_and_two_makes_at_once(machine, cache) -> None:
    first, second = machine.checkout("first"), machine.checkout("second")
    started = [
        machine.start(first, "make", "setup", XDG_CACHE_HOME=cache),
        machine.start(first, "make", "setup", XDG_CACHE_HOME=cache),
        machine.start(second, "make", "setup", XDG_CACHE_HOME=cache, BARE="1"),
    ]
    said = [process.communicate(timeout=500)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(said)
    assert sum("installing" in one for one in said[:2]) == 1, "set up twice in one checkout"
    for checkout in (first, second):
        machine.run(checkout, ".venv/bin/python", "-m", "batchyard", "--help")

    # Without embedded services the program names the way out.
    out = machine.run(second, ".venv/bin/python", "-m", "batchyard", "up", code=3)
    assert "BATCHYARD_DATABASE_URL" in out


def test_a_moved_checkout_is_set_up_anew(machine, cache) -> None:
    settings = {"XDG_CACHE_HOME": cache, "BARE": "1"}
    checkout = machine.checkout("before")
    machine.run(checkout, "make", "setup", **settings)
    moved = checkout.rename(checkout.with_name("after"))
    assert "installing" in machine.run(moved, "make", "setup", **settings)
    assert "submit" in machine.run(Path("/"), str(moved / ".venv/bin/batchyard"), "--help")
    old = str(checkout / ".venv").encode()
    scripts = [one for one in (moved / ".venv/bin").iterdir() if not one.is_symlink()]
    assert not [one.name for one in scripts if old in one.read_bytes()]


def test_an_old_python_is_refused_with_the_remedy(machine) -> None:
    checkout = machine.checkout("old")
    (machine.path / "python3").write_text("#!/bin/sh\nexit 1\n")
    said = machine.run(checkout, "make", "setup", code=2)
    assert "no Python 3.11 or newer" in said
    assert "make PYTHON=" in said
    said = machine.run(checkout, "make", "setup", "PYTHON=/nowhere/python3", code=2)
    assert "/nowhere/python3 is not a Python 3.11 or newer" in said


def test_nothing_needs_a_service_of_the_machine(machine) -> None:
    tools = {one.name for one in machine.path.iterdir()}
    assert not tools & {"uv", "docker", "postgres", "psql", "redis-server", "valkey-server"}
    listed = subprocess.run(
        ["make", "-C", str(machine.checkout("help"))],
        env={"PATH": str(machine.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "make demo" in listed.stdout
