"""A bare HTTP/1.1 server protocol: httptools for parsing, replies in order, nothing else.

Keep-alive and pipelining are served; bodies come with a length or chunked. There are no
timeouts: a simulated provider may take as long as it is told to.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
from typing_extensions import override

MAX_BODY = 64 * 1024 * 1024
MAX_HEAD = 64 * 1024
MAX_PIPELINED = 128
JSON = "application/json"

_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 413: "Content Too Large", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip
_HARD_CLOSE = struct.pack("ii", 1, 0)


class Exchange:
    """One request and the place of its reply in the connection's order.

    Exactly one of `reply`, `reset` or nothing (a hang) follows; `on_lost`, where set, is
    called if the connection ends first.
    """

    __slots__ = (
        "_connection",
        "_keep_alive",
        "_sent",
        "body",
        "headers",
        "method",
        "on_lost",
        "target",
    )

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._sent: bytes | None = None
        self._keep_alive = True
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.on_lost: Callable[[], None] | None = None

    def reply(self, status: int, body: bytes, head: str = "", kind: str = JSON) -> None:
        """Sends the reply once all earlier ones on this connection are out."""
        reason = _REASONS.get(status, "Unknown")
        close = "" if self._keep_alive else "connection: close\r\n"
        self._sent = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(body)}\r\n{head}{close}\r\n"
        ).encode("latin-1", "replace") + body
        self.on_lost = None
        self._connection.flush()

    def reset(self) -> None:
        """Breaks the connection with a TCP reset."""
        self.on_lost = None
        self._connection.reset()


class Connection(asyncio.Protocol):
    """One client connection; calls `handle` with each complete request."""

    __slots__ = (
        "_body", "_current", "_handle", "_head_size", "_members", "_parser", "_paused",
        "_pending", "_refused", "_transport",
    )  # fmt: skip

    def __init__(self, handle: Callable[[Exchange], None], members: set["Connection"]) -> None:
        self._handle = handle
        self._members = members
        self._pending: deque[Exchange] = deque()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._current = Exchange(self)
        self._body: list[bytes] = []
        self._head_size = 0
        self._refused = False
        self._paused = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport but not its type.
        self._transport = cast(asyncio.Transport, transport)
        self._members.add(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._members.discard(self)
        self._transport = None
        pending, self._pending = self._pending, deque()
        for exchange in pending:
            if exchange.on_lost is not None:
                exchange.on_lost()

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This server speaks HTTP/1.1 only and upgrades to nothing else.")
        except httptools.HttpParserError as error:
            # A callback that refused the request has already said why.
            if not self._refused:
                self._refuse(400, f"Not a valid HTTP/1.1 request: {error}")

    @override
    def pause_writing(self) -> None:
        """A client that does not read its replies is not read from either."""
        self._hold(True)

    @override
    def resume_writing(self) -> None:
        self._hold(len(self._pending) > MAX_PIPELINED)

    def _hold(self, paused: bool) -> None:
        if self._transport is None or paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._current = Exchange(self)
        self._body = []
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        self._head_size += len(url)
        if self._head_size > MAX_HEAD:
            self._refuse_head()
        self._current.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            self._refuse_head()
        self._current.headers[name.lower()] = value

    def _refuse_head(self) -> None:
        if not self._refused:
            self._refuse(431, f"The request's headers are larger than {MAX_HEAD} bytes.")

    def on_headers_complete(self) -> None:
        headers = self._current.headers
        size = headers.get(b"content-length", b"0")
        if size.isdigit() and int(size) > MAX_BODY:
            self._refuse(413, f"The body is larger than {MAX_BODY} bytes.")
        elif headers.get(b"expect", b"").lower() == b"100-continue" and not self._pending:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        # Chunked bodies have no length to check beforehand.
        if len(self._body) % 64 == 0 and sum(map(len, self._body)) > MAX_BODY:
            self._refuse(413, f"The body is larger than {MAX_BODY} bytes.")

    def on_message_complete(self) -> None:
        if self._refused:
            return
        exchange = self._current
        exchange.method = self._parser.get_method()
        exchange.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        exchange._keep_alive = self._parser.should_keep_alive()
        self._body = []
        self._pending.append(exchange)
        if len(self._pending) > MAX_PIPELINED:
            self._hold(True)
        self._handle(exchange)

    # What an exchange calls.

    def flush(self) -> None:
        """Writes every reply that is complete and has none outstanding before it."""
        pending = self._pending
        while pending and pending[0]._sent is not None:
            exchange = pending.popleft()
            self._write(exchange._sent or b"")
            if not exchange._keep_alive and self._transport is not None:
                self._transport.close()
                return
        if self._paused and len(pending) <= MAX_PIPELINED // 2:
            self._hold(False)

    def reset(self) -> None:
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD_CLOSE)
        self._transport.abort()

    def close(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _refuse(self, status: int, message: str) -> None:
        """Answers a request that cannot be read, after the replies before it, and closes."""
        self._refused = True
        exchange = Exchange(self)
        exchange._keep_alive = False
        self._pending.append(exchange)
        exchange.reply(status, error_body(message))


def error_body(message: str, code: str | None = None) -> bytes:
    """An error envelope for what is no provider's answer."""
    text = message.encode("unicode_escape").decode("ascii").replace("\\", "/").replace('"', "'")
    coded = "null" if code is None else f'"{code}"'
    return (
        f'{{"error":{{"message":"{text}","type":"invalid_request_error",'
        f'"param":null,"code":{coded}}}}}'
    ).encode()
