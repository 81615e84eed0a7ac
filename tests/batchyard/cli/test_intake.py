"""What goes in and what comes out, through the program and a running yard."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.batchyard.cli.conftest import Program, program_in

SETTINGS = """
providers:
  lab: {kind: simulator, profile: {seed: 3, latency: {ms: 10}}}
  sloppy: {kind: simulator, profile: {seed: 4, faults: {p_empty: 1}}}
deployments:
  small: {provider: lab, model: my-8b, price: {input_per_mtok: 0.10, output_per_mtok: 0.40}}
  hasty: {provider: sloppy, model: my-1b, price: {input_per_mtok: 0.10, output_per_mtok: 0.40}}
routes:
  default: {candidates: [small]}
  strict: {candidates: [hasty, small], checks: {empty: next}}
  vain: {candidates: [hasty], checks: {empty: retry}, max_attempts: 2}
"""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A running yard with a provider whose answers are empty."""
    folder = tmp_path_factory.mktemp("intake")
    (folder / "batchyard.yaml").write_text(SETTINGS)
    program = program_in(folder)
    said = program.process("up", "-d", "--no-flower", "--json")
    assert said.code == 0, said.err
    yield program
    program("down")


def test_an_answer_that_does_not_pass_goes_to_the_next_and_is_told(yard) -> None:
    text = "".join(json.dumps({"prompt": f"Say {n}", "model": "strict"}) + "\n" for n in range(5))
    job = yard("submit", "-", "--json", stdin=text).json["id"]
    assert yard("watch", job).code == 0
    found = [json.loads(line)["batchyard"] for line in yard("results", job).out.splitlines()]
    assert [(one["deployment"], one["attempts"]) for one in found] == [("small", 2)] * 5
    told = yard("explain", job, "request-1").out
    assert "an answer that is empty: next" in told
    assert "rejected: the answer is empty" in told
    assert yard("errors", job, "--json").json["errors"][0]["class"] == "rejected"
    assert yard("audit", job).code == 0


def test_what_never_passes_fails_with_its_answer_and_a_wish_helps(yard) -> None:
    hopeless = {"custom_id": "a", "prompt": "x", "model": "vain", "metadata": {"k": 1}}
    wishing = {**hopeless, "custom_id": "b", "fallbacks": ["small"], "timeout": 20}
    text = f"{json.dumps(hopeless)}\n{json.dumps(wishing)}\n"
    job = yard("submit", "-", "--json", stdin=text).json["id"]
    yard("watch", job)
    failed, helped = (json.loads(line) for line in yard("results", job).out.splitlines())
    assert failed["error"] == {"code": "empty", "message": "the answer is empty"}
    assert failed["response"]["body"]["choices"][0]["message"]["content"] == ""
    assert failed["batchyard"]["status"] == "failed"
    assert failed["batchyard"]["metadata"] == {"k": 1}
    # Two attempts are all that the route allows, and the first candidate has both of them.
    assert helped["batchyard"]["attempts"] == 2
    assert "vain: hasty then small" in yard("explain", job, "b").out
    assert "20 s a call" in yard("explain", job, "b").out


def test_a_misspelt_wish_is_told_where_it_stands(yard) -> None:
    said = yard("submit", "-", stdin='{"prompt": "x", "fallbacks": ["smal"], "timeout": 1e9}\n')
    assert said.code == 2
    assert "line 1, fallbacks[0]" in said.err
    assert "Did you mean 'small'?" in said.err


def test_a_packed_table_goes_in_and_packed_lines_come_out(yard) -> None:
    table = 'prompt,topic\n"one, two",a\nthree,b\n'
    (yard.folder / "rows.csv.gz").write_bytes(gzip.compress(table.encode()))
    job = yard("submit", "rows.csv.gz", "--json").json["id"]
    assert yard("watch", job).code == 0
    assert yard("results", job, "-o", "out.jsonl.gz", "--json").json["lines"] == 2
    lines = gzip.decompress((yard.folder / "out.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["batchyard"]["metadata"]["topic"] for line in lines] == ["a", "b"]


def test_ctrl_c_ends_a_submit_that_waits_for_its_input(yard) -> None:
    before = len(yard("jobs", "--json").json)
    process = subprocess.Popen(
        [*yard.argv, "submit", "-"],
        cwd=yard.folder,
        env=yard.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    # More than a pipe holds: once it is written, most of it has been read.
    process.stdin.write('{"prompt": "x"}\n' * 20_000)
    process.stdin.flush()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "nothing was submitted" in err
    assert len(yard("jobs", "--json").json) == before


def test_a_submit_needs_no_broker(yard) -> None:
    nowhere = {"BATCHYARD_BROKER_URL": "redis://127.0.0.1:1/0"}
    job = yard("submit", "-", "--json", stdin='{"prompt": "x"}\n', **nowhere).json["id"]
    assert yard("watch", job).code == 0


MEASURED = """
import sys
from batchyard.cli.program import run
code = run(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM"))
sys.stderr.write(peak.split()[1])
sys.exit(code)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_file_goes_in_and_out_in_little_memory(yard) -> None:
    text = "Sort this message into one of the labels. " * 24
    with (yard.folder / "large.jsonl").open("w") as file:
        for n in range(30_000):
            file.write(json.dumps({"custom_id": f"r{n}", "prompt": f"{text}{n}"}) + "\n")

    def peak(*argv: str) -> tuple[str, float]:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *argv],
            cwd=yard.folder,
            env=yard.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, int(done.stderr.split()[-1]) / 1024

    out, submitting = peak("submit", "large.jsonl", "--json")
    job = json.loads(out)["id"]
    assert yard("cancel", job).code == 0
    yard("watch", job)
    _, exporting = peak("results", job, "-o", "large.out")
    assert (yard.folder / "large.out").read_bytes().count(b"\n") == 30_000
    assert max(submitting, exporting) < 64
