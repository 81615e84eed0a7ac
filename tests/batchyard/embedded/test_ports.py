"""A port is given to one yard, although nobody listens there yet."""

import socket
import subprocess
import sys

from batchyard.embedded.home import Home
from batchyard.embedded.ports import free_port, take_port
from batchyard.services import ROOT

TAKE = """
import sys
from batchyard.embedded.ports import take_port
print(take_port(int(sys.argv[1]), "other"), flush=True)
sys.stdin.read()
"""


def other(port: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_port_that_one_process_took_another_does_not_get_until_it_ends() -> None:
    port = free_port("one")
    with other(port) as process:
        assert answer(process) == "False"
        process.communicate()
    theirs = 14_999
    with other(theirs) as process:
        assert answer(process) == "True"
        assert not take_port(theirs, "one")
        process.kill()
        process.communicate()
    assert take_port(theirs, "one")


def test_within_a_process_it_is_its_owners(tmp_path) -> None:
    port = free_port("one")
    assert take_port(port, "one")
    assert not take_port(port, "two")
    with socket.create_server(("127.0.0.1", port)):
        assert not take_port(port, "one")


def test_two_homes_that_remember_the_same_port_do_not_both_get_it(tmp_path) -> None:
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    port = first.port("postgres")
    second.create()
    (second.run / "ports.json").write_text(f'{{"postgres": {port}}}')
    assert second.port("postgres") != port
    assert first.port("postgres") == port
