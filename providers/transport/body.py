"""Reply bodies with a cap: on the wire, and once more after decompression."""

import zlib
from collections.abc import Mapping
from typing import Final

from providers.errors import TransportError

REPLY_CAP: Final = 32 * 1024 * 1024
"""Bytes. A chat completion of 100,000 tokens is about 0.5 MiB."""

# Nothing is gained by asking for compression of a few kilobytes of JSON.
ACCEPT_ENCODING: Final = "identity"

_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def too_large(cap: int) -> TransportError:
    """The error of a reply over `cap` bytes."""
    return TransportError(
        f"the reply is larger than {cap // (1024 * 1024)} MiB and was dropped. "
        "Lower max_tokens, or ask for fewer choices",
        may_have_arrived=True,
    )


def check_length(headers: Mapping[str, str], cap: int) -> None:
    """Refuses a reply by its announced length, before it is read."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > cap:
        raise too_large(cap)


def decoded(headers: Mapping[str, str], body: bytes, cap: int) -> bytes:
    """The body without its content-encoding, which a server may apply unasked.

    Raises TransportError when it grows over `cap`, is damaged, or is of an unknown encoding.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return body
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise TransportError(
            f"the reply is encoded as {encoding[:40]!r}, which was not asked for",
            may_have_arrived=True,
        )
    inflater = zlib.decompressobj(wbits=bits)
    try:
        plain = inflater.decompress(body, cap + 1)
    except zlib.error as error:
        raise TransportError(f"the reply is damaged: {error}", may_have_arrived=True) from error
    if len(plain) > cap:
        raise too_large(cap)
    if not inflater.eof:
        raise TransportError("the compressed reply is cut short", may_have_arrived=True)
    return plain
