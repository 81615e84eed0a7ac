"""An encoder of an operator's own: texts as vectors of their meaning, by an ONNX model.

A folder with `model.onnx` (a transformer whose first output is a vector a token, or a vector a
text) and its `tokenizer.json`. Needs the extra `encoder`; onnxruntime is imported where a model
with an encoder is trained or loaded, and nowhere else.
"""

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from core.errors import InputError
from routing.models.encoder import EncoderSpec
from routing.models.state import Floats

AT_ONCE: Final = 32
MOST_TOKENS: Final = 128


class OnnxEncoder:
    """Runs on one thread: a worker's other threads have work of their own."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where the folder or the extra is missing."""
        model, tokens = folder / "model.onnx", folder / "tokenizer.json"
        for file in (model, tokens):
            if not file.is_file():
                raise InputError(
                    f"{file}: there is no such file. An encoder is `words`, `none`, or a folder "
                    "with model.onnx and tokenizer.json, at the same place on every machine with "
                    "a control worker"
                )
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise InputError(
                f"An encoder needs the extra `encoder` ({error.name} is missing): "
                "pip install 'batchyard[encoder]'"
            ) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(str(model), options)
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokens))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.enable_padding()
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        self.spec = EncoderSpec(str(folder.resolve()), digest, self.encode(["a"]).shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """float32[n, d]: rows of length 1."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        parts = [
            self._encode([texts[row] for row in order[at : at + AT_ONCE]])
            for at in range(0, len(order), AT_ONCE)
        ]
        if not parts:
            return np.zeros((0, self.spec.width), np.float32)
        found = np.empty((len(texts), parts[0].shape[1]), np.float32)
        found[order] = np.concatenate(parts)
        return found

    def _encode(self, texts: list[str]) -> Floats:
        encoded = self._tokenizer.encode_batch(texts)
        fed = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
            "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
        }
        (told, *_) = self._session.run(None, {k: v for k, v in fed.items() if k in self._inputs})
        if told.ndim == 3:  # a vector a token: their mean, without the padding
            mask = fed["attention_mask"][:, :, None]
            told = (told * mask).sum(1) / np.maximum(mask.sum(1), 1)
        length = np.linalg.norm(told, axis=1, keepdims=True)
        return np.asarray(told / np.maximum(length, 1e-9), np.float32)
