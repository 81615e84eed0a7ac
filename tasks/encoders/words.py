"""Vectors of words: a text's is the mean of those of its parts of words.

The vectors (32,000 of 256 numbers, trained from token embeddings of large models so that means
of them compare texts) and the tokenizer lie in the `wordllama` wheel. Their two files are read; the
package itself is never imported: that takes 0.2 s and sets up logging, and later versions look for
what they miss on the network.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load
from scipy import sparse
from tokenizers import Tokenizer

from core.errors import InputError
from routing.models.encoder import WORDS, EncoderSpec
from routing.models.state import Floats
from tasks.encoders.known_words import KnownWords

WEIGHTS: Final = "wordllama/weights/l2_supercat_256.safetensors"
TOKENS: Final = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
AT_ONCE: Final = 512
MOST_WORDS: Final = 1 << 16  # whose parts are remembered


class WordVectors:
    """About 1.5 µs for a short prompt and 20 µs for one of 1,000 characters, where its words have
    been met before; 45 MB of memory, 0.1 s to load."""

    def __init__(self) -> None:
        """Raises InputError where the files are missing."""
        body = _file(WEIGHTS).read_bytes()
        (vectors,) = load(body).values()
        self._vectors = vectors.astype(np.float32)  # [parts of words, width]
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(_file(TOKENS)))
        self._known = KnownWords(self._tokenizer)
        digest = hashlib.sha256(body).hexdigest()
        self.spec = EncoderSpec(WORDS, digest, self._vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """float32[n, width]: rows of length 1, zeros for a text without words."""
        parts = [self._encode(texts[at : at + AT_ONCE]) for at in range(0, len(texts), AT_ONCE)]
        return np.concatenate([np.zeros((0, self.spec.width), np.float32), *parts])

    def _encode(self, texts: Sequence[str]) -> Floats:
        known = self._known
        if len(known) > MOST_WORDS:
            # Threads that still read what is full keep it.
            known = self._known = KnownWords(self._tokenizer)
        parts, ends = known.parts(texts)
        ones = np.ones(parts.size, np.float32)
        counted = sparse.csr_matrix((ones, parts, ends), (len(texts), len(self._vectors)))
        summed = counted @ self._vectors
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
