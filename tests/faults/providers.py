"""A yard with providers that fail in every way, each alone and each beside one that works."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.rig import HASTY, OUTPUT, Rig, running_yard

PATIENCE = 3
IN_FLIGHT = 32
KEYS = {"RIG_GOOD_KEY": "good-key-of-the-rig", "RIG_BAD_KEY": "bad-key-of-the-rig"}
PRICE = {"input_per_mtok": 0.25, "output_per_mtok": 2}
QUIET: dict[str, Any] = {
    "latency": {"ms": 50},
    "insufficient_quota": False,
    "faults": {"p_429": 0, "p_hang": 0, "p_malformed": 0, "outages": None, "retry_after_ms": 500},
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
    rig.resume(*rig.conditions())
