"""Workers started by hand: what is missing is told in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def celery(tmp_path: Path):
    (tmp_path / "batchyard.yaml").write_text(
        "providers: {lab: {base_url: 'http://127.0.0.1:9/v1'}}\n"
        "deployments: {small: {provider: lab, model: m}}\n"
        "routes: {default: {candidates: [small]}}\n"
    )

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "celery", "-A", "workers.app", *args],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_without_a_broker_the_way_to_one_is_told_in_a_line(celery) -> None:
    ended = celery("worker", "-Q", "provider.lab")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert 'eval "$(batchyard env)"' in ended.stderr


def test_a_worker_without_threads_is_refused(celery) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    ended = celery("worker", "-P", "solo", "-Q", "provider.lab", BATCHYARD_BROKER_URL=nowhere)
    assert ended.returncode == 1
    assert "Start it with -P threads" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_queue_that_the_yard_does_not_have_is_told_with_those_it_has(celery) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    ended = celery("worker", "-Q", "provider.lap,route", BATCHYARD_BROKER_URL=nowhere)
    assert ended.returncode == 1
    assert "no queue provider.lap." in ended.stderr
    assert "provider.lab" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_arithmetic_keeps_to_one_thread_but_where_an_operator_says_otherwise(
    tmp_path: Path,
) -> None:
    code = (
        "import os, workers.app, numpy, threadpoolctl\n"
        "pools = threadpoolctl.threadpool_info()\n"
        "print({one['num_threads'] for one in pools}, os.environ['OMP_NUM_THREADS'])"
    )
    own = {"PYTHONPATH": str(ROOT), "BATCHYARD_BROKER_URL": "redis://127.0.0.1:1/0"}
    for said, printed in (({}, "{1} 1\n"), ({"OMP_NUM_THREADS": "3"}, "{1} 3\n")):
        found = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=tmp_path,
            env=own | said,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout == printed
