"""`python -m batchyard.embedded.model_server`: llama.cpp's server until SIGTERM or Ctrl-C.

Also ends when its parent does, however that ends.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

import xllamacpp

from batchyard.embedded.model import MODEL, model_weights

# What may be kept of earlier prompts for reuse, in MiB.
_PROMPT_CACHE = 64
_CHECK_PARENT_S = 1.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m batchyard.embedded.model_server", description=__doc__
    )
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--weights", type=Path, help="a GGUF file (default: SmolLM2's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=4, help="requests answered at once")
    parser.add_argument("--context", type=int, default=1024, help="tokens of each request")
    return parser.parse_args()


def parameters(arguments: argparse.Namespace) -> "xllamacpp.CommonParams":
    """What llama.cpp is told: loopback only, no page of its own, no downloads, CPU alone."""
    params = xllamacpp.CommonParams()
    params.model.path = str(arguments.weights or model_weights())
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    # Or any web page could ask the model through its reader's browser.
    params.cors_origins = f"http://127.0.0.1:{arguments.port}"
    params.n_parallel = arguments.parallel
    params.n_ctx = arguments.parallel * arguments.context
    # One memory for all: what prompts have in common is kept once.
    params.kv_unified = True
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.n_gpu_layers = 0
    params.cache_ram_mib = _PROMPT_CACHE
    params.ui = False
    # It would show the prompts of running requests.
    params.endpoint_slots = False
    params.offline = True
    params.verbosity = 1
    return params


def main() -> NoReturn:
    """Serve until told to stop."""
    parent = os.getppid()
    ended = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server = xllamacpp.Server(parameters(_arguments()))
    sys.stdout.write(f"ready on {server.listening_address}\n")
    sys.stdout.flush()
    while not ended.wait(_CHECK_PARENT_S) and os.getppid() == parent:
        pass
    # Without its destructor, which would wait for running requests that nobody answers any more.
    os._exit(0)


if __name__ == "__main__":
    main()
