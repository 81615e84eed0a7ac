"""What `doctor` finds wrong is wrong."""

from dataclasses import replace

from batchyard.checks import check_queues, check_workers
from core.settings import Settings
from db.overview import Backlog, DeploymentState, Overview, Worker

SETTINGS = Settings.model_validate(
    {
        "providers": {"lab": {"base_url": "http://127.0.0.1:9/v1"}},
        "deployments": {"small": {"provider": "lab", "model": "m"}},
        "routes": {"default": {"candidates": ["small"]}},
    }
)


def seen(*closed: DeploymentState) -> Overview:
    bound = Backlog(deployment="small", status="ready", requests=30, age=300.0)
    return Overview(1, 0, (bound,), {}, closed, ())


def test_a_queue_without_lanes_is_stuck_unless_its_deployments_may_send_nothing() -> None:
    [stuck] = check_queues(SETTINGS, seen())
    assert not stuck.ok
    assert "No worker takes from provider.lab" in stuck.fix
    quota = DeploymentState("small", "cooling", "quota", "its quota is used up", 1.0, 40.0)
    [waiting] = check_queues(SETTINGS, seen(quota))
    assert waiting.ok


def test_a_yard_whose_control_worker_is_silent_is_not_well() -> None:
    call = Worker(1, "call1@a", "a", 10, 9.0, 60.0, 0)
    silent = Worker(2, "control@a", "a", 11, -30.0, 60.0, 0, controls=True)
    found = check_workers(Overview(1, 0, (), {}, (), (call, silent)))
    assert not found.ok
    assert "no control worker" in found.detail
    alive = replace(silent, lease=9.0)
    assert check_workers(Overview(1, 0, (), {}, (), (call, alive))).ok
