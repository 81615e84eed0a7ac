"""What every transport promises, on real sockets."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.errors import ConfigError
from core.ports import HttpCall, HttpReply, Transport
from providers.errors import TransportError
from providers.transport import make_transport

Make = Callable[..., Transport]
HEADERS = {"authorization": "Bearer k", "x-team": "nlp"}


def _call(url: str, body: bytes = b"{}", timeout: float = 20.0) -> HttpCall:
    return HttpCall(url, HEADERS, body, timeout)


def _send(make: Make, *calls: HttpCall, **options: Any) -> list[HttpReply | TransportError]:
    """Sends the calls one after the other over one transport."""

    async def main() -> list[HttpReply | TransportError]:
        transport = make(**{"max_connections": 8, **options})
        outcomes: list[HttpReply | TransportError] = []
        for call in calls:
            try:
                outcomes.append(await transport.send(call))
            except TransportError as error:
                outcomes.append(error)
        await transport.close()
        return outcomes

    return asyncio.run(main())


def _reply(make: Make, call: HttpCall, **options: Any) -> HttpReply:
    outcome = _send(make, call, **options)[0]
    assert isinstance(outcome, HttpReply), outcome
    return outcome


def _error(make: Make, call: HttpCall, **options: Any) -> TransportError:
    outcome = _send(make, call, **options)[0]
    assert isinstance(outcome, TransportError), outcome
    return outcome


def test_bytes_and_headers_arrive_as_given(make: Make, server: Any) -> None:
    body = '{"messages":[{"content":"héllo \\u2028 \U0001f40e"}]}'.encode()
    reply = _reply(make, _call(f"{server.url}/ok", body))
    assert (reply.status, reply.body) == (200, b'{"ok":true}')
    assert server.seen.bodies == [body]
    sent: Mapping[str, str] = server.seen.headers[0]
    assert sent["authorization"] == "Bearer k"
    assert sent["x-team"] == "nlp"
    assert sent["accept-encoding"] == "identity"


def test_reply_header_names_are_lower_case(make: Make, server: Any) -> None:
    headers = _reply(make, _call(f"{server.url}/ok")).headers
    assert headers["x-request-id"] == "req_1"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(("path", "status"), [("throttled", 429), ("empty", 503)])
def test_an_error_status_is_a_reply(make: Make, server: Any, path: str, status: int) -> None:
    assert _reply(make, _call(f"{server.url}/{path}")).status == status


def test_redirects_are_not_followed(make: Make, server: Any) -> None:
    reply = _reply(make, _call(f"{server.url}/redirect"))
    assert (reply.status, reply.headers["location"]) == (307, "/ok")
    assert server.seen.paths == {"/redirect": 1}


@pytest.mark.parametrize("path", ["chunked", "until-closed", "early-hints", "closing"])
def test_the_whole_body_is_read(make: Make, server: Any, path: str) -> None:
    assert _reply(make, _call(f"{server.url}/{path}")).body == b'{"ok":true}'


def test_compression_that_nobody_asked_for_is_undone(make: Make, server: Any) -> None:
    assert _reply(make, _call(f"{server.url}/gzip")).body == b'{"ok":true}'


@pytest.mark.parametrize("path", ["large", "large-chunked", "bomb"])
def test_a_reply_over_the_cap_is_dropped(make: Make, server: Any, path: str) -> None:
    error = _error(make, _call(f"{server.url}/{path}"), reply_cap=1024 * 1024)
    assert error.may_have_arrived
    assert "larger than 1 MiB" in str(error)


@pytest.mark.parametrize("path", ["damaged", "odd", "nonsense", "cut", "nowhere"])
def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(
    make: Make, server: Any, path: str
) -> None:
    assert _error(make, _call(f"{server.url}/{path}")).may_have_arrived


def test_a_time_out_after_sending_is_an_unknown_outcome(make: Make, server: Any) -> None:
    error = _error(make, _call(f"{server.url}/hang", timeout=0.3))
    assert error.may_have_arrived
    assert "0.3 s" in str(error)


def test_a_reset_after_sending_is_an_unknown_outcome(make: Make, server: Any) -> None:
    assert _error(make, _call(f"{server.url}/reset", b"x" * 5000)).may_have_arrived
    assert server.seen.paths == {"/reset": 1}, "the transport itself never sends twice"


def test_a_refused_connection_cannot_have_arrived(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not _error(make, _call(f"http://127.0.0.1:{port}/ok")).may_have_arrived


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1/x", "http://nowhere.invalid/x"])
def test_an_address_that_leads_nowhere_cannot_have_arrived(make: Make, url: str) -> None:
    assert not _error(make, _call(url)).may_have_arrived


def test_connections_are_kept(make: Make, server: Any) -> None:
    replies = _send(make, *[_call(f"{server.url}/ok")] * 20)
    assert all(isinstance(reply, HttpReply) for reply in replies)
    assert server.seen.connections == 1


def test_a_connection_that_the_server_closes_is_not_used_again(make: Make, server: Any) -> None:
    replies = _send(make, *[_call(f"{server.url}/closing")] * 5)
    assert [isinstance(one, HttpReply) and one.body for one in replies] == [b'{"ok":true}'] * 5
    assert server.seen.connections == 5


def test_a_failure_leaves_the_transport_usable(make: Make, server: Any) -> None:
    paths = ["reset", "ok", "cut", "ok", "bomb", "ok"]
    calls = [_call(f"{server.url}/{path}") for path in paths]
    outcomes = _send(make, *calls, reply_cap=1024 * 1024)
    assert [isinstance(outcome, HttpReply) for outcome in outcomes] == [False, True] * 3


def test_a_thousand_calls_at_once(make: Make, server: Any) -> None:
    async def main() -> list[HttpReply]:
        transport = make(max_connections=1000)
        call = _call(f"{server.url}/slow", timeout=60.0)
        replies = await asyncio.gather(*[transport.send(call) for _ in range(1000)])
        await transport.close()
        return replies

    assert [reply.status for reply in asyncio.run(main())] == [200] * 1000
    assert server.seen.paths["/slow"] == 1000


def test_no_more_connections_than_allowed(make: Make, server: Any) -> None:
    async def main() -> None:
        transport = make(max_connections=4)
        call = _call(f"{server.url}/slow")
        await asyncio.gather(*[transport.send(call) for _ in range(8)])
        await transport.close()

    asyncio.run(main())
    assert server.seen.most <= 4


def test_loopback_ignores_a_proxy_of_the_environment(
    make: Make, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert _reply(make, _call(f"{server.url}/ok")).status == 200


def test_closing_ends_the_calls_in_flight(make: Make, server: Any) -> None:
    async def main() -> Any:
        transport = make(max_connections=1)
        task = asyncio.create_task(transport.send(_call(f"{server.url}/hang")))
        await asyncio.sleep(0.3)
        await transport.close()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    error = asyncio.run(main())
    assert isinstance(error, TransportError), error
    assert error.may_have_arrived


def test_a_cancelled_call_gives_its_connection_back_by_its_time_out(
    make: Make, server: Any
) -> None:
    async def main() -> HttpReply:
        transport = make(max_connections=1)
        call = _call(f"{server.url}/hang", timeout=1.0)
        task = asyncio.create_task(transport.send(call))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        reply = await transport.send(_call(f"{server.url}/ok"))
        await transport.close()
        return reply

    assert asyncio.run(main()).status == 200


def test_a_closed_transport_says_so(make: Make, server: Any) -> None:
    async def main() -> None:
        transport = make(max_connections=1)
        await transport.close()
        await transport.send(_call(f"{server.url}/ok"))

    with pytest.raises(TransportError):
        asyncio.run(main())


def test_an_unknown_transport_is_named() -> None:
    with pytest.raises(ConfigError, match="direct, pyreqwest or httpx"):
        make_transport("curl", max_connections=1)  # type: ignore[arg-type]
