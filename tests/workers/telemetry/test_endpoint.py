"""Where `/metrics` listens, and that work goes on where it cannot."""

import socket
import urllib.request

import pytest
from structlog.testing import capture_logs

from core.errors import ConfigError
from workers.telemetry.endpoint import address, new_registry, serve


def test_the_environment_says_where() -> None:
    assert address({}, "127.0.0.1") == ("127.0.0.1", 0)
    assert address({"BATCHYARD_METRICS": "0.0.0.0:9464"}, "127.0.0.1") == ("0.0.0.0", 9464)
    assert address({"BATCHYARD_METRICS": "[::1]:9464"}, "127.0.0.1") == ("::1", 9464)
    assert address({"BATCHYARD_METRICS": "off"}, "127.0.0.1") is None


@pytest.mark.parametrize("text", ["9464", "host:", ":9464", "host:port", "host:0", "host:99999"])
def test_what_is_no_address_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0:9464, or off"):
        address({"BATCHYARD_METRICS": text}, "127.0.0.1")


def test_two_processes_of_one_machine_find_ports_of_their_own() -> None:
    with capture_logs() as lines:
        for kind in ("control", "call"):
            serve(new_registry(kind), ("127.0.0.1", 0))
    urls = [line["url"] for line in lines]
    assert len(set(urls)) == 2
    for url, kind in zip(urls, ("control", "call"), strict=True):
        with urllib.request.urlopen(url, timeout=5) as reply:
            text = reply.read().decode()
        assert f'batchyard_build_info{{kind="{kind}"' in text
        assert "process_cpu_seconds_total" in text


def test_a_port_that_is_taken_is_told_and_survived() -> None:
    with socket.socket() as taken, capture_logs() as lines:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serve(new_registry("call"), ("127.0.0.1", taken.getsockname()[1]))
    assert lines[-1]["event"] == "no metrics"
    assert lines[-1]["log_level"] == "error"
