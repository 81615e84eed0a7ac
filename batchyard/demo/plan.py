"""What the demo asks of whom: messages, prompts, and three simulated clouds with their faults."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from core.errors import InputError

FOLDER = Path(__file__).parents[2] / "examples" / "banking77"
LOCAL = "local"
ALONE, ROUTER = "alone", "desk"
MOST_LOCAL = 30
BUDGET = "2.00"

# Of every 20 messages, how many start on which route.
SHARES = (("default", 8), ("steady", 6), ("best", 6))


class Message(msgspec.Struct, frozen=True):
    """A customer's message with its gold labels: `label` is one of 77, `coarse` one of 6."""

    id: str
    text: str
    label: str
    coarse: str


@dataclass(frozen=True, slots=True)
class Material:
    """What the demo reads from `examples/banking77`."""

    messages: tuple[Message, ...]
    prompt: str
    shots: tuple[dict[str, str], ...]

    @property
    def labels(self) -> list[str]:
        return sorted({message.label for message in self.messages}, key=str.casefold)

    @property
    def topics(self) -> list[str]:
        return sorted({message.coarse for message in self.messages})


def load_material(folder: Path = FOLDER) -> Material:
    """Messages and prompts. Raises InputError where the folder is not there."""
    try:
        lines = (folder / "messages.jsonl").read_bytes().splitlines()
        prompt = (folder / "prompt.txt").read_text(encoding="utf-8").strip()
        shots = (folder / "prompt-coarse.json").read_bytes()
    except OSError as error:
        raise InputError(
            f"The demo's messages are not there ({error}). Run it from a checkout of the project"
        ) from error
    return Material(
        tuple(msgspec.json.decode(line, type=Message) for line in lines),
        prompt,
        tuple(msgspec.json.decode(shots, type=list[dict[str, str]])),
    )


def local_messages(messages: Sequence[Message], most: int = MOST_LOCAL) -> list[Message]:
    """Up to `most` messages, taken in turn from every coarse topic."""
    by_topic: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_topic[message.coarse].append(message)
    queues = [iter(by_topic[topic]) for topic in sorted(by_topic)]
    picked: list[Message] = []
    while queues and len(picked) < most:
        queue = queues.pop(0)
        following = next(queue, None)
        if following is not None:
            picked.append(following)
            queues.append(queue)
    return picked


def cloud_lines(material: Material) -> Iterator[dict[str, Any]]:
    """A short line for every message, spread over the routes; the answer is one of 77 topics.

    `user` tells the simulator which entry of its answer key is asked for.
    """
    labels = "\n".join(material.labels)
    routes = [name for name, count in SHARES for _ in range(count)]
    for number, message in enumerate(material.messages):
        yield {
            "custom_id": message.id,
            # 7 and 20 have no common factor, so that the routes alternate.
            "model": routes[number * 7 % len(routes)],
            "prompt": material.prompt.format(labels=labels, text=message.text),
            "max_tokens": 24,
            "temperature": 0,
            "user": message.id,
        }


def local_lines(material: Material) -> Iterator[dict[str, Any]]:
    """A short line for each message that the local model gets: one of 6 topics, and a grammar
    (llama.cpp's GBNF) that lets it answer nothing else."""
    grammar = "root ::= " + " | ".join(f'"{topic}"' for topic in material.topics)
    for message in local_messages(material.messages):
        yield {
            "custom_id": f"{message.id}-{LOCAL}",
            "model": LOCAL,
            "messages": [*material.shots, {"role": "user", "content": message.text}],
            "max_tokens": 8,
            "temperature": 0,
            "grammar": grammar,
        }


def configuration(*, local: bool, folder: Path = FOLDER) -> dict[str, Any]:
    """A batchyard.yaml as data."""
    config: dict[str, Any] = {
        "providers": {name: _provider(name, cloud, folder) for name, cloud in CLOUDS.items()},
        "deployments": {name: _deployment(name, cloud) for name, cloud in CLOUDS.items()},
        "routes": {
            "default": {"candidates": ["skyline", "harbor", "summit"], "max_output": 64},
            "steady": {"candidates": ["harbor", "summit"], "max_output": 64},
            "best": {"candidates": ["summit", "harbor"], "max_output": 64},
            ALONE: {"candidates": ["summit"], "max_output": 64},
            ROUTER: {
                "candidates": ["skyline", "harbor", "summit"],
                "choose": "cascade",
                "cascade": "agreement",
                "intents": {"model": ROUTER},
                "max_output": 64,
            },
        },
        # The demo's yard is small, and somebody is waiting.
        "yard": {"lanes": 4},
    }
    if local:
        config["providers"][LOCAL] = {"kind": "local"}
        config["deployments"][LOCAL] = {
            "provider": LOCAL,
            "model": "smollm2-135m-instruct",
            "limits": {"in_flight": 2},
            "price": _price("0", "0"),
            "context": 1024,
        }
        config["routes"][LOCAL] = {"candidates": [LOCAL], "max_output": 8}
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A simulated provider with one model. Prices in dollars per million tokens, `window`
    in tokens of prompt and answer; `faults` as in a simulator profile."""

    what: str
    model: str
    accuracy: float
    price: tuple[str, str]
    limits: dict[str, int]
    median_ms: int
    faults: dict[str, Any]
    window: int = 32_000


# Limits are enforced by the simulator as declared here; 429s beyond them are injected.
CLOUDS: dict[str, Cloud] = {
    "skyline": Cloud(
        what="throttles, small window",
        model="skyline-lite",
        accuracy=0.78,
        price=("0.10", "0.40"),
        limits={"rpm": 300},
        median_ms=300,
        faults={"p_429": 0.04, "retry_after_ms": 400},
        # The configuration does not say so: the cloud does, and those messages fall back.
        window=506,
    ),
    "harbor": Cloud(
        what="errors, resets, down for 5 s",
        model="harbor-standard",
        accuracy=0.86,
        price=("0.40", "1.60"),
        limits={"rpm": 360, "in_flight": 8},
        median_ms=600,
        faults={
            "p_503": 0.04,
            "p_reset": 0.03,
            "p_malformed": 0.02,
            "outages": [{"start_s": 8, "duration_s": 5}],
        },
    ),
    "summit": Cloud(
        what="slow, few errors",
        model="summit-large",
        accuracy=0.95,
        price=("3.00", "15.00"),
        limits={"rpm": 300, "tpm": 400_000},
        median_ms=1200,
        faults={"p_500": 0.01},
    ),
}


def _provider(name: str, cloud: Cloud, folder: Path) -> dict[str, Any]:
    return {
        "kind": "simulator",
        "timeout": 20,
        "profile": {
            "seed": 77 + list(CLOUDS).index(name),
            "latency": {"kind": "lognormal", "ms": cloud.median_ms, "sigma": 0.3},
            "limits": cloud.limits,
            "faults": cloud.faults,
            "key_file": str(folder / "answers.jsonl"),
            "models": {
                cloud.model: {
                    "accuracy": cloud.accuracy,
                    "price": _price(*cloud.price),
                    "context": cloud.window,
                }
            },
        },
    }


def _deployment(name: str, cloud: Cloud) -> dict[str, Any]:
    return {
        "provider": name,
        "model": cloud.model,
        "limits": cloud.limits,
        "price": _price(*cloud.price),
    }


def _price(per_input: str, per_output: str) -> dict[str, str]:
    return {"input_per_mtok": per_input, "output_per_mtok": per_output}
