"""A yard with providers that fail in every way, each alone and each beside one that works."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchyard.embedded.ports import free_port
from batchyard.services import ROOT
from core.status import Condition
from db.health import conditions, resume
from providers.watch import look
from tests.faults.rig import HASTY, OUTPUT, Rig, check_whole, running_yard, wait_until

PATIENCE = 3
IN_FLIGHT = 32
KEYS = {"RIG_GOOD_KEY": "good-key-of-the-rig", "RIG_BAD_KEY": "bad-key-of-the-rig"}
PRICE = {"input_per_mtok": 0.25, "output_per_mtok": 2}
QUIET: dict[str, Any] = {
    "latency": {"ms": 50},
    "insufficient_quota": False,
    "faults": {
        **dict.fromkeys(("p_429", "p_hang", "p_malformed", "p_refused", "p_declined"), 0),
        "outages": None,
        "retry_after_ms": 500,
    },
}
ALWAYS = {"start_s": 0, "duration_s": 1e9}


def provider(**more: Any) -> dict[str, Any]:
    """A simulated provider whose calls are given up after a few seconds."""
    profile = {"seed": 7, "latency": {"ms": 50}, "models": {"mini": {"output_tokens": 10}}}
    profile |= more.pop("profile", {})
    return {"kind": "simulator", "timeout": PATIENCE, "profile": profile, **more}


def deployment(name: str, in_flight: int = IN_FLIGHT) -> dict[str, Any]:
    return {
        "provider": name,
        "model": "mini",
        "limits": {"in_flight": in_flight},
        "price": PRICE,
    }


CONFIG: dict[str, Any] = {
    "providers": {
        "shaky": provider(),
        "steady": provider(),
        "keyed": provider(
            keys=[f"env:{name}" for name in ("RIG_BAD_KEY", "RIG_GOOD_KEY")],
            profile={"credential": KEYS["RIG_GOOD_KEY"]},
        ),
    },
    "deployments": {name: deployment(name) for name in ("shaky", "steady", "keyed")},
    "routes": {
        "default": {"candidates": ["shaky", "steady"], "max_output": OUTPUT},
        "alone": {"candidates": ["shaky"], "max_output": OUTPUT},
        "keyed": {"candidates": ["keyed"], "max_output": OUTPUT},
        "declined": {
            "candidates": ["shaky", "steady"],
            "refused": ["keyed", "steady"],
            "max_output": OUTPUT,
        },
    },
}


@contextmanager
def providers_yard(folder: Path) -> Iterator[Rig]:
    with running_yard(folder, HASTY, CONFIG, KEYS) as rig:
        yield rig


def heal(rig: Rig) -> None:
    """All providers work, and all deployments are open."""
    for name in ("shaky", "steady"):
        rig.simulate(name, **QUIET)
    rig.simulate("keyed", **QUIET, credential=KEYS["RIG_GOOD_KEY"])
    open_again(rig, *standing(rig))


def standing(rig: Rig) -> dict[str, Condition]:
    """How those deployments stand that are not open."""
    return rig.ask(conditions)


def wait_standing(rig: Rig, deployment: str, status: str) -> Condition:
    """Until the deployment stands so; with its reason."""
    found: list[Condition] = []

    def so() -> bool:
        found[:] = [standing(rig).get(deployment, Condition())]
        return found[0].status == status

    wait_until(so, f"{deployment} {status}", tell=lambda: str(found))
    return found[0]


def open_again(rig: Rig, *deployments: str) -> None:
    """As `batchyard deployments resume` does."""
    rig.ask(lambda conn: resume(conn, deployments))


# All faults at once, over a large job.

ALL_FAULTS = {
    "dying": {},
    "throttling": {"p_429": 1, "retry_after_ms": 500},
    "sloppy": {"p_malformed": 0.05},
    "hanging": {"p_hang": 0.01},
    "steady": {},
}
LATENCY = {"kind": "lognormal", "ms": 400, "sigma": 0.3}
TIMEOUT = 10


def all_at_once(dying_port: int) -> dict[str, Any]:
    """Five providers: one is a process of its own that can be killed, one says 429 to all, one
    answers nonsense to 5 %, one lets 1 % hang, and one works."""
    profiles = {
        name: {"latency": LATENCY, "faults": faults, "models": {"mini": {"output_tokens": 10}}}
        for name, faults in ALL_FAULTS.items()
        if name != "dying"
    }
    simulated = {
        name: {"kind": "simulator", "timeout": TIMEOUT, "profile": {"seed": 7, **profile}}
        for name, profile in profiles.items()
    }
    dying = {
        "base_url": f"http://127.0.0.1:{dying_port}/v1",
        "timeout": TIMEOUT,
        "health": {"every": 5},
    }
    return {
        "providers": {"dying": dying, **simulated},
        "deployments": {name: deployment(name) for name in ALL_FAULTS},
        "routes": {
            "default": {
                "candidates": [*ALL_FAULTS],
                "choose": "least_busy",
                "max_output": OUTPUT,
            }
        },
    }


class Dying:
    """A simulated provider in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._profile = folder / "dying.json"
        profile = {"latency": LATENCY, "models": {"mini": {"output_tokens": 10}}}
        self._profile.write_text(json.dumps(profile), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def live(self) -> None:
        argv = [sys.executable, "-m", "batchyard", "simulator", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [*argv, "--profile", str(self._profile)], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        wait_until(lambda: look(f"http://127.0.0.1:{self.port}/v1/models")[0], "a provider")

    def die(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass(slots=True)
class Watcher:
    """Writes down how the deployments' conditions change."""

    rig: Rig
    began: float = field(default_factory=time.monotonic)
    changes: list[str] = field(default_factory=list)
    _last: dict[str, str] = field(default_factory=dict)

    def note(self, text: str) -> None:
        self.changes.append(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def look(self) -> None:
        found = standing(self.rig)
        for name in ALL_FAULTS:
            now = found.get(name, Condition())
            if self._last.get(name, "open") != now.status:
                why = f": {now.reason}" if now.status != "open" else ""
                self.note(f"{name} {now.status}{why}")
            self._last[name] = now.status


def play_all_at_once(rig: Rig, dying: Dying, total: int, away: float) -> None:
    """Runs the job, kills a provider a quarter of the way and brings it back after `away`
    seconds; prints what happened and checks that nothing was lost."""
    job = rig.submit(total)
    watcher = Watcher(rig)
    dead_at = back_at = math.inf
    while not rig.ended(job):
        now = time.monotonic()
        if dead_at == math.inf and rig.results(job) >= total // 4:
            dying.die()
            dead_at = now
            watcher.note(f"dying killed, with {rig.results(job)} results")
        elif back_at == math.inf and now >= dead_at + away:
            dying.live()
            back_at = now
            watcher.note(f"dying started again, with {rig.results(job)} results")
        watcher.look()
        time.sleep(0.25)
    took = time.monotonic() - watcher.began
    assert back_at < math.inf, "the job was over before the provider came back; take more requests"
    check_whole(rig, job, total, simulated=False)
    print(f"{total} requests over five providers, all faults at once: done in {took:.1f} s")
    print("  one completed result each, audit ok")
    _print_shares(rig, job)
    for line in watcher.changes:
        print(f"  {line}")


def _print_shares(rig: Rig, job: int) -> None:
    for name, results, calls in rig.sql(
        "select a.deployment, count(*) filter (where a.status = 'ok'), count(*) from attempts a"
        " where a.job_id = %(job)s group by 1 order by 1",
        job=job,
    ):
        errors = rig.sql(
            "select error_class, count(*) from attempts where job_id = %(job)s"
            " and deployment = %(name)s and error_class is not null group by 1 order by 2 desc",
            job=job,
            name=name,
        )
        told = ", ".join(f"{count} {leaf}" for leaf, count in errors)
        print(f"  {name:11} {results:6} results, {calls:6} calls{': ' if told else ''}{told}")
    most = rig.one("select max(n) from attempts where job_id = %(job)s", job=job)
    print(f"  the most calls for one request: {most}")
