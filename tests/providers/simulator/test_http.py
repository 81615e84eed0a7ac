"""The bare HTTP layer, over raw sockets."""

import asyncio
import json
import socket

import pytest

BODY = json.dumps({"model": "mini", "messages": [{"role": "user", "content": "hello"}]}).encode()


def request(body: bytes = BODY, *, name: str = "q", extra: str = "") -> bytes:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"x-batchyard-request-id: {name}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


def connect(sim) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sim.server.port), timeout=10)


def read_replies(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    file = sock.makefile("rb")
    replies = []
    for _ in range(count):
        status = int(file.readline().split()[1])
        length = 0
        while (line := file.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        replies.append((status, file.read(length)))
    return replies


def test_pipelined_calls_are_answered_in_order(start_any):
    # Later calls are done first: the order of replies is the connection's doing.
    sim = start_any({"latency": {"kind": "lognormal", "ms": 5, "sigma": 1.5},
                     "answers": {f"q{n}": f"answer {n}" for n in range(300)}})  # fmt: skip
    with connect(sim) as sock:
        sock.sendall(b"".join(request(name=f"q{n}") for n in range(300)))
        texts = [
            json.loads(body)["choices"][0]["message"]["content"]
            for _, body in read_replies(sock, 300)
        ]
    assert texts == [f"answer {n}" for n in range(300)]


def test_a_request_may_arrive_byte_by_byte(start):
    sim = start()
    with connect(sim) as sock:
        for byte in request():
            sock.sendall(bytes([byte]))
        assert read_replies(sock, 1)[0][0] == 200


def test_chunked_bodies_and_100_continue(start):
    sim = start()
    with connect(sim) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (BODY[:10], BODY[10:]))
            + b"0\r\n\r\n"
        )
        assert read_replies(sock, 1)[0][0] == 200
        whole = request(extra="expect: 100-continue\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert read_replies(sock, 1)[0][0] == 200


def test_connection_close_and_http_1_0_are_honoured(start):
    sim = start()
    for sent in (request(extra="connection: close\r\n"), b"GET /stats HTTP/1.0\r\n\r\n"):
        with connect(sim) as sock:
            sock.sendall(sent)
            data = b""
            while part := sock.recv(65536):
                data += part
            assert b" 200 " in data


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_garbage_is_answered_400_and_the_server_goes_on(start_any, garbage):
    sim = start_any()
    with connect(sim) as sock:
        sock.sendall(garbage)
        status, body = read_replies(sock, 1)[0]
        assert status in (400, 404)
        assert json.loads(body)["error"]["message"]
    assert sim.call().status_code == 200


def test_oversized_heads_and_bodies_are_refused(start):
    sim = start()
    with connect(sim) as sock:
        sock.sendall(request(extra=f"x-long: {'a' * 70_000}\r\n"))
        assert read_replies(sock, 1)[0][0] == 431
    with connect(sim) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n")
        assert read_replies(sock, 1)[0][0] == 413
    assert sim.call().status_code == 200


def test_a_large_body_is_served(start):
    sim = start({"models": {"*": {"context": 10_000_000}}})
    response = sim.call("x" * 8_000_000)
    assert response.status_code == 200
    assert response.json()["usage"]["prompt_tokens"] == 2_000_006


def test_a_caller_who_leaves_is_billed_all_the_same(start):
    sim = start({"latency": {"ms": 150}})
    with connect(sim) as sock:
        sock.sendall(request(name="left"))
        while not sim.stats()["ids"]:
            pass
    while sim.stats()["in_flight"]:
        pass
    assert sim.stats()["ids"]["left"] == {"calls": 1, "billed": 1}


def test_a_thousand_connections_at_once(start):
    sim = start({"latency": {"ms": 300}})

    async def one(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.server.port)
        statuses = []
        for turn in range(2):
            writer.write(request(name=f"q{number}-{turn}"))
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            statuses.append(int(head.split()[1]))
        writer.close()
        await writer.wait_closed()
        return statuses.count(200)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(1024)))

    assert sum(asyncio.run(all_of_them())) == 2048
    stats = sim.stats("/stats")
    assert stats["billed_calls"] == 2048
    assert stats["request_ids"] == 2048
