"""Vectors of words: a text's is the mean of those of its parts of words.

The vectors (32,000 of 256 numbers, trained from token embeddings of large models so that means
of them compare texts) and the tokenizer lie in the `wordllama` wheel. Their two files are read; the
package itself is never imported: that takes 0.3 s, sets up logging, and looks for what it misses on
the network.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load
from scipy import sparse
from tokenizers import Tokenizer, pre_tokenizers

from core.errors import InputError
from routing.models.intent import WORDS, EncoderSpec
from routing.models.state import Floats

WEIGHTS: Final = "wordllama/weights/l2_supercat_256.safetensors"
TOKENS: Final = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
BLANK: Final = "▁"  # how the tokenizer writes the space before a word
AT_ONCE: Final = 512


class WordVectors:
    """About 20 µs for a short prompt; 45 MB of memory, 0.1 s to load."""

    pull = 1.5

    def __init__(self) -> None:
        """Raises InputError where the files are missing."""
        body = _file(WEIGHTS).read_bytes()
        (self._vectors,) = load(body).values()  # float16[words, width]
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(_file(TOKENS)))
        # Word by word: what came before is known by heart.
        self._tokenizer.pre_tokenizer = pre_tokenizers.Split(BLANK, "merged_with_next")
        digest = hashlib.sha256(body).hexdigest()
        self.spec = EncoderSpec(WORDS, digest, self._vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """float32[n, width]: rows of length 1, zeros for a text without words."""
        parts = [self._encode(texts[at : at + AT_ONCE]) for at in range(0, len(texts), AT_ONCE)]
        return np.concatenate([np.zeros((0, self.spec.width), np.float32), *parts])

    def _encode(self, texts: Sequence[str]) -> Floats:
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        lengths = [len(one) for one in found]
        known, place = np.unique(
            np.array([token for one in found for token in one.ids], np.int64), return_inverse=True
        )
        ends = np.concatenate(([0], np.cumsum(lengths)))
        ones = np.ones(place.size, np.float32)
        counted = sparse.csr_matrix((ones, place, ends), shape=(len(texts), known.size))
        summed = counted @ self._vectors[known].astype(np.float32)
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        return np.asarray(summed / np.maximum(length, 1e-9), np.float32)


def _file(name: str) -> Path:
    try:
        file = Path(str(distribution("wordllama").locate_file(name)))
    except PackageNotFoundError:
        file = Path(name)
    if not file.is_file():
        raise InputError(
            f"The vectors of words are missing ({file}). They come with batchyard: "
            "pip install wordllama==0.1.0. Or train without them: --encoder none"
        )
    return file
