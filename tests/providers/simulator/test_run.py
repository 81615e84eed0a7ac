"""The simulator as a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_writes_its_port_serves_and_ends_cleanly(tmp_path: Path, how: signal.Signals):
    profile = tmp_path / "sim.yaml"
    profile.write_text("providers:\n  lab: {models: {mini: {}}, latency: {ms: 60000}}\n")
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "providers.simulator", "--port", "0"]
    command += ["--profile", str(profile), "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = wait_for(port_file, process)
            assert httpx.get(f"http://127.0.0.1:{port}/lab/v1/models").status_code == 200
            body = {"model": "mini", "messages": [{"role": "user", "content": "x"}]}
            url = f"http://127.0.0.1:{port}/lab/v1/chat/completions"
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url, json=body, timeout=0.3)
            process.send_signal(how)
            assert process.wait(20) == 0
            assert not port_file.exists()
            assert process.stdout is not None
            assert f"http://127.0.0.1:{port}/lab/v1" in process.stdout.read()
        finally:
            process.kill()


def wait_for(port_file: Path, process: subprocess.Popen[str]) -> int:
    while not port_file.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return int(port_file.read_text())


def test_a_bad_profile_ends_with_its_explanation(tmp_path: Path):
    profile = tmp_path / "sim.yaml"
    profile.write_text("faults: {p_500: 2}\n")
    command = [sys.executable, "-m", "providers.simulator", "--profile", str(profile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: faults.p_500: ")
