"""One HTTP/1.1 connection: writes a request, reads its answer with httptools (llhttp)."""

import asyncio
from typing import Final, cast

import httptools

from core.ports import HttpReply
from providers.errors import TransportError
from providers.transport.body import check_length, decoded, too_large

HEAD_CAP: Final = 256 * 1024
"""Bytes that an answer may have beside its body."""


class Connection(asyncio.Protocol):
    """`open` says that another request may be sent, until `good_until` of the loop's time."""

    def __init__(self, reply_cap: int) -> None:
        self.open = True
        self.good_until = 0.0
        self._cap = reply_cap
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[HttpReply] | None = None
        self._begin()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self.open and self._transport is not None and not self._transport.is_closing()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._read = 0
        self._until_end = False

    async def exchange(self, request: bytes, deadline: float, patience: float) -> HttpReply:
        """Sends a whole request and waits for its answer until `deadline` of the loop's time,
        `patience` seconds after the call began.

        Raises TransportError; the request may have arrived then.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[HttpReply] = loop.create_future()
        self._waiter = waiter
        timer = loop.call_at(deadline, self._late, patience)
        try:
            if self._transport is not None:
                self._transport.write(request)
            return await waiter
        finally:
            timer.cancel()
            if self._waiter is not None:
                # Nobody waits for this answer any more, and no other call must get it.
                self.fail("the call was given up")

    def _late(self, patience: float) -> None:
        self.fail(f"no answer within {patience:g} s")

    def fail(self, text: str) -> None:
        """Ends the connection, and the call on it."""
        self._end(TransportError(text, may_have_arrived=True))

    def _end(self, error: TransportError) -> None:
        self.open = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        if self._waiter is None:
            self.fail("the server spoke unasked")
        elif self._read > self._cap + HEAD_CAP:
            self._end(too_large(self._cap))
        else:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self.fail(f"the answer is not HTTP: {type(error).__name__}")

    def eof_received(self) -> None:
        self.open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._until_end and exc is None:
            self._finish()
        self.fail(f"the connection broke before the answer: {exc or 'closed by the server'}")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._waiter is None:
            # A second answer to one request.
            self.open = False
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._until_end = "content-length" not in headers and "transfer-encoding" not in headers
        try:
            check_length(headers, self._cap)
        except TransportError as error:
            self._end(error)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        # An interim answer (1xx) has no body, and is none that a call could end with.
        self._until_end = False
        if self._parser.get_status_code() >= 200:
            if not self._parser.should_keep_alive():
                self.open = False
            self._finish()

    def _finish(self) -> None:
        """The answer is all here."""
        self._until_end = False
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        try:
            if len(body) > self._cap:
                raise too_large(self._cap)
            if "content-encoding" in self._headers:
                body = decoded(self._headers, body, self._cap)
        except TransportError as error:
            waiter.set_exception(error)
        else:
            waiter.set_result(HttpReply(self._parser.get_status_code(), self._headers, body))
