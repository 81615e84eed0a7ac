"""The production topology says what the code says: queues, options, secrets, configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.celery import celery
from celery.bin.worker import worker

from core.settings import Settings
from workers.broker import STEP_QUEUES, provider_queue
from workers.telemetry.endpoint import address

HOUSE = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((HOUSE / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = Settings.model_validate(yaml.safe_load((HOUSE / "deploy/batchyard.yaml").read_text()))


def option(service: str, name: str) -> str:
    [value] = [word for word in SERVICES[service]["command"] if word.startswith(f"--{name}=")]
    return value.partition("=")[2]


def workers() -> list[str]:
    return [name for name, one in SERVICES.items() if "worker" in one.get("command", [])]


def test_every_queue_has_its_worker() -> None:
    consumed = [queue for name in workers() for queue in option(name, "queues").split(",")]
    owned = {*STEP_QUEUES, *(provider_queue(name) for name in SETTINGS.providers)}
    assert len(consumed) == len(set(consumed))
    assert set(consumed) == owned


@pytest.mark.parametrize("service", [*workers(), "beat"])
def test_commands_are_ones_that_celery_knows(service: str) -> None:
    program, app, command, *rest = SERVICES[service]["command"]
    assert (program, app) == ("celery", "--app=workers.app")
    known = {"worker": worker, "beat": beat}[command]
    with celery.make_context("celery", [], resilient_parsing=True) as parent:
        parent.obj = CLIContext(Celery("compose"), no_color=True, workdir=None)
        # Parsed, not run: an unknown option or a wrong value is an error here.
        assert not known.make_context(command, list(rest), parent=parent).args


def test_a_worker_is_asked_by_the_name_it_has() -> None:
    for name in workers():
        node = option(name, "hostname").removesuffix("@%h")
        assert f"--destination={node}@$$HOSTNAME" in SERVICES[name]["healthcheck"]["test"][1]


def test_only_a_providers_own_workers_hold_its_key() -> None:
    for name, provider in SETTINGS.providers.items():
        assert provider.api_key is not None
        secret = provider.api_key.removeprefix("file:/run/secrets/")
        holders = {service for service, one in SERVICES.items() if secret in one.get("secrets", [])}
        assert holders == {
            service for service in workers() if provider_queue(name) in option(service, "queues")
        }


def test_every_service_is_bounded_and_watched() -> None:
    for name, service in SERVICES.items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= limits.keys(), name
        assert "healthcheck" in service or service["restart"] == "no", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_prometheus_looks_at_every_process_that_has_numbers() -> None:
    """By its service's name, at the port that its environment says."""
    told = yaml.safe_load((HOUSE / "deploy/prometheus/prometheus.yml").read_text())
    [found] = [one["dns_sd_configs"][0] for one in told["scrape_configs"] if "dns_sd" in str(one)]
    assert set(found["names"]) == {*workers(), "beat"}
    for name in found["names"]:
        where = SERVICES[name]["environment"]["BATCHYARD_METRICS"]
        assert address({"BATCHYARD_METRICS": where}, "") == ("0.0.0.0", found["port"])
        assert "ports" not in SERVICES[name]


def test_what_watches_is_mounted_from_files_that_exist_and_seen_here_only() -> None:
    for name in ("prometheus", "grafana"):
        one = SERVICES[name]
        assert one["profiles"] == ["observability"]
        assert all(port.startswith("127.0.0.1:") for port in one["ports"])
        for config in one["configs"]:
            assert (HOUSE / COMPOSE["configs"][config["source"]]["file"]).is_file()
