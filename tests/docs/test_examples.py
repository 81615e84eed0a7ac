"""What the docs show can be used as it stands: configurations, intents, commands, Python, JSON."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from batchyard.cli.program import app
from batchyard.cli.registry import COMMANDS
from providers.configuration import load_settings
from providers.intent_files import read_intents
from providers.yaml_text import load_yaml

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ROUTER = ("train", "eval", "learn", "report", "allocate", "list", "show", "promote")

# What a fragment of a configuration stands beside.
BESIDE: dict[str, Any] = {
    "providers": {"lab": {"base_url": "http://127.0.0.1:9000/v1"}},
    "deployments": {
        name: {"provider": "lab", "model": name} for name in ("small", "mini", "large")
    },
    "routes": {"default": {"candidates": ["small"]}, "cards": {"candidates": ["small"]}},
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Where each block of a language stands, and its text."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in FENCE.finditer(text):
            if found[1] == language:
                yield f"{page}:{text.count(chr(10), 0, found.start()) + 1}", found[2]


def commands() -> Iterator[tuple[str, str]]:
    """Each line that calls the program, in any block or in the help of a command."""
    for language in ("", "sh"):
        for place, text in blocks(language):
            for line in text.replace("\\\n", " ").splitlines():
                if line.removeprefix("$ ").startswith("batchyard "):
                    yield place, line.removeprefix("$ ")
    for words in ([], *([name] for name in COMMANDS), *(["router", one] for one in ROUTER)):
        told = CliRunner().invoke(app, [*words, "--help"])
        for line in told.output.splitlines():
            if line.strip().startswith("batchyard "):
                yield f"{' '.join(words)} --help", line.strip()


def cases(found: Iterator[tuple[str, str]]) -> list[Any]:
    return [pytest.param(text, id=place) for place, text in found]


@pytest.mark.parametrize("text", cases(blocks("yaml")))
def test_yaml_is_a_configuration_or_a_file_of_intents(text: str, tmp_path: Path) -> None:
    told = load_yaml(text)
    if "intents" in told:
        (tmp_path / "intents.yaml").write_text(text)
        assert read_intents(tmp_path / "intents.yaml").intents
        return
    whole = BESIDE | told
    if "routes" in told:
        whole["routes"] = BESIDE["routes"] | told["routes"]
    (tmp_path / "batchyard.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "intents.yaml").write_text("intents: {a: [one], b: [two]}")
    (tmp_path / "labels.json").write_text('{"type": "object"}')
    load_settings(tmp_path / "batchyard.yaml", {})


def test_commands_have_the_options_that_are_shown() -> None:
    shown = list(commands())
    assert len(shown) > 100
    wrong = [f"{place}: {line}: {why}" for place, line in shown if (why := misread(line))]
    assert not wrong, "\n".join(wrong)


def misread(line: str) -> str:
    """What the program does not understand of a line; empty where all is well. Options are read
    before any, `--help` too, is gone by."""
    _, *words = shlex.split(re.split(r"\s[|>]\s|\s#\s|\s{2,}", line)[0])
    told = CliRunner().invoke(app, [*words, "--help"])
    return "" if told.exit_code == 0 else told.output or repr(told.exception)


@pytest.mark.parametrize("text", cases(blocks("python")))
def test_python_compiles(text: str) -> None:
    compile(text, "docs", "exec")


@pytest.mark.parametrize("text", cases(blocks("json")))
def test_json_is_json(text: str) -> None:
    lines = text.replace(",\n ", ", ").strip()
    for line in lines.splitlines():
        json.loads(line if line.startswith("{") else f"{{{line}}}")


@pytest.mark.parametrize("text", cases(blocks("sh")))
def test_shell_is_shell(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)):
        name, _, heading = target.partition("#")
        if name.startswith("http"):
            continue
        other = (ROOT / page).parent / name if name else ROOT / page
        assert other.exists(), target
        if heading:
            assert heading in headings(other.read_text()), target


def headings(text: str) -> set[str]:
    """The anchors of a page: words in lower case, joined by hyphens, without marks."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}
