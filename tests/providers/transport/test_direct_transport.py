"""What is the direct transport's own: proxies, TLS, and connections that spoke out of turn."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import uvloop

from core.ports import HttpCall, HttpReply
from providers.errors import TransportError
from providers.transport.direct_transport import DirectTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def call(url: str, **headers: str) -> HttpCall:
    return HttpCall(url, headers, b"{}", 20.0)


def send(*calls: HttpCall, tls: ssl.SSLContext | None = None) -> list[HttpReply | TransportError]:
    async def main() -> list[HttpReply | TransportError]:
        transport = DirectTransport(max_connections=4, tls=tls)
        outcomes: list[HttpReply | TransportError] = []
        for one in calls:
            try:
                outcomes.append(await transport.send(one))
            except TransportError as error:
                outcomes.append(error)
        await transport.close()
        return outcomes

    return uvloop.run(main())


def test_a_second_answer_to_one_request_is_nobodys(server: Any) -> None:
    replies = send(*[call(f"{server.url}/chatty")] * 3)
    assert [isinstance(one, HttpReply) and one.body for one in replies] == [b'{"ok":true}'] * 3
    assert server.seen.connections == 3


def test_a_connection_is_not_used_for_longer_than_its_server_says(server: Any) -> None:
    replies = send(*[call(f"{server.url}/brief")] * 2)
    assert all(isinstance(one, HttpReply) for one in replies)
    assert server.seen.connections == 2


@pytest.mark.parametrize("value", ["two\r\nlines: x", "two\nlines", "caf\u00e9"])
def test_a_header_that_is_no_single_line_is_not_sent(server: Any, value: str) -> None:
    [error] = send(call(f"{server.url}/ok", **{"x-team": value}))
    assert isinstance(error, TransportError)
    assert not error.may_have_arrived
    assert server.seen.connections == 0


def test_a_proxy_of_the_environment_is_used(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    send(call("http://models.example/ok"))
    assert server.seen.paths == {"http://models.example/ok": 1}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    command = (
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -out {files[0]} -keyout {files[1]}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return files


def send_over_tls(
    certificate: tuple[Path, Path], host: str, *, trusted: bool
) -> HttpReply | TransportError:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(ANSWER)
        await reader.read()
        writer.close()

    async def main() -> HttpReply | TransportError:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]
        tls = ssl.create_default_context(cafile=str(certificate[0]) if trusted else None)
        transport = DirectTransport(max_connections=1, tls=tls)
        try:
            return await transport.send(call(f"https://{host}:{port}/v1/chat/completions"))
        except TransportError as error:
            return error
        finally:
            await transport.close()
            listening.close()

    return uvloop.run(main())


def test_a_call_over_tls(certificate: tuple[Path, Path]) -> None:
    reply = send_over_tls(certificate, "localhost", trusted=True)
    assert isinstance(reply, HttpReply), reply
    assert reply.body == b"{}"


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
def test_nothing_is_sent_to_a_server_that_is_not_who_it_should_be(
    certificate: tuple[Path, Path], host: str, trusted: bool
) -> None:
    error = send_over_tls(certificate, host, trusted=trusted)
    assert isinstance(error, TransportError)
    assert not error.may_have_arrived
    assert "certificate" in str(error).lower()
