"""The server: limits and faults over the wire, stats, live changes."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from core.errors import ConfigError, ServiceError
from providers.simulator import load_profile, serve


def test_requests_per_minute_are_enforced_with_true_headers(start):
    # A thousandth of a call per second: nothing refills while the test runs.
    sim = start({"limits": {"rpm": 0.06, "burst_s": 3000}})
    responses = [sim.call() for _ in range(6)]
    assert [one.status_code for one in responses] == [200, 200, 200, 429, 429, 429]
    left = [one.headers["x-ratelimit-remaining-requests"] for one in responses]
    assert left == ["2", "1", "0", "0", "0", "0"]
    refused = responses[3]
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "requests"
    wait_ms = int(refused.headers["retry-after-ms"])
    assert 900_000 < wait_ms <= 1_000_000
    assert int(refused.headers["retry-after"]) == -(-wait_ms // 1000)
    stats = sim.stats()
    assert stats["limited"] == {"requests": 3}
    assert stats["billed_calls"] == 3


def test_tokens_per_minute_are_charged_by_estimate_and_max_tokens(start):
    sim = start({"limits": {"tpm": 1000, "burst_s": 60}})
    # 5 bytes: 2 tokens + 6 of overhead; 392 more may be written.
    responses = [sim.call("hello", max_tokens=392) for _ in range(3)]
    assert [one.status_code for one in responses] == [200, 200, 429]
    assert responses[0].headers["x-ratelimit-limit-tokens"] == "1000"
    assert 600 <= int(responses[0].headers["x-ratelimit-remaining-tokens"]) < 700
    assert responses[2].json()["error"]["type"] == "tokens"
    never = sim.call("hello", max_tokens=2000)
    assert never.status_code == 429
    assert "too large" in never.json()["error"]["message"]
    assert "retry-after" not in never.headers


def test_a_model_may_have_limits_of_its_own(start):
    models = {"mini": {"limits": {"rpm": 0.06, "burst_s": 1}}, "big": {}}
    sim = start({"models": models})
    assert [sim.call(model="mini").status_code for _ in range(2)] == [200, 429]
    assert [sim.call(model="big").status_code for _ in range(3)] == [200] * 3


def test_calls_in_flight_are_capped(start):
    sim = start({"limits": {"in_flight": 3}, "faults": {"p_hang": 1.0}})
    body = b'{"model":"mini","messages":[{"role":"user","content":"x"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            sock = socket.create_connection(("127.0.0.1", sim.server.port))
            stack.enter_context(sock).sendall(head % len(body) + body)
        while sim.stats()["in_flight"] < 3:
            pass
        response = sim.call()
        assert response.status_code == 429
        assert response.json()["error"]["type"] == "in_flight"
    while sim.stats()["in_flight"]:
        pass
    stats = sim.stats()
    assert stats["peak_in_flight"] == 3
    assert stats["status"] == {"hang": 3, "429": 1}
    assert stats["billed_calls"] == 0


def test_faults_over_the_wire_and_their_bills(start):
    sim = start()
    for fault, status, code in (
        ("p_429", 429, "rate_limit_exceeded"),
        ("p_500", 500, None),
        ("p_503", 503, "server_is_overloaded"),
    ):
        sim.config(faults={"p_429": None, "p_500": None, "p_503": None, "retry_after_ms": 1200})
        sim.config(faults={fault: 1.0})
        response = sim.call()
        assert response.status_code == status
        assert response.json()["error"]["code"] == code
        if status != 500:
            assert response.headers["retry-after-ms"] == "1200"
            assert response.headers["retry-after"] == "2"
    assert sim.stats()["billed_calls"] == 0
    assert sim.stats()["faults"] == {"429": 1, "500": 1, "503": 1}


def test_retry_after_may_be_left_out(start):
    sim = start({"faults": {"p_429": 1.0}})
    sim.config(faults={"retry_after_ms": 0})
    assert sim.call().headers["retry-after-ms"] == "0"
    sim = start({"faults": {"p_429": 1.0, "retry_after_ms": None}})
    assert "retry-after" not in sim.call().headers


@pytest.mark.parametrize(("billed", "kind"), [(0.0, "reset"), (1.0, "reset_billed")])
def test_a_reset_breaks_the_connection_before_or_after_the_bill(start_any, billed, kind):
    sim = start_any({"faults": {"p_reset": 1.0, "reset_billed": billed}, "latency": {"ms": 5}})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        sim.call(request_id="q1")
    stats = sim.stats()
    assert stats["faults"] == {kind: 1}
    assert stats["status"] == {"reset": 1}
    assert stats["ids"] == {"q1": {"calls": 1, "billed": int(billed)}}


def test_a_malformed_reply_is_billed(start):
    sim = start({"faults": {"p_malformed": 1.0}})
    response = sim.call(request_id="q1")
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert sim.stats()["ids"]["q1"] == {"calls": 1, "billed": 1}


@pytest.mark.parametrize(
    ("fault", "reason"), [("p_empty", "stop"), ("p_truncated", "length"), ("p_garbled", "stop")]
)
def test_an_answer_that_is_no_good_is_whole_and_billed(start, fault: str, reason: str) -> None:
    sim = start({"answers": {"q1": '{"label": "billing"}'}})
    good = sim.call(request_id="q1").json()["choices"][0]["message"]["content"]
    sim.config(faults={fault: 1.0})
    response = sim.call(request_id="q1")
    [choice] = response.json()["choices"]
    assert response.status_code == 200
    assert choice["finish_reason"] == reason
    text = choice["message"]["content"]
    assert text == "" if fault == "p_empty" else good.startswith(text) and 0 < len(text) < len(good)
    assert sim.stats()["ids"]["q1"] == {"calls": 2, "billed": 2}
    assert sim.stats()["faults"] == {fault.removeprefix("p_"): 1}


def test_an_overstated_usage_is_reported_and_not_billed(start) -> None:
    sim = start({"answers": {"q1": "billing"}})
    good = sim.call(request_id="q1").json()
    billed = sim.stats()["billed_nusd"]
    sim.config(faults={"p_overstated": 1.0, "overstated_by": 2_000_000})
    told = sim.call(request_id="q1").json()
    assert told["choices"] == good["choices"]
    more = told["usage"]["completion_tokens"] - good["usage"]["completion_tokens"]
    assert more == told["usage"]["total_tokens"] - good["usage"]["total_tokens"] == 2_000_000
    assert sim.stats()["billed_nusd"] == 2 * billed


def test_faults_do_not_depend_on_the_order_of_calls(start):
    profile = {"seed": 9, "faults": {"p_429": 0.2, "p_500": 0.2, "p_malformed": 0.1}}

    def fates(sim, names) -> dict[str, list[tuple[int, int]]]:
        with ThreadPoolExecutor(8) as pool:

            def both(name):
                return [
                    (one.status_code, len(one.content) < 300)
                    for one in (sim.call(request_id=name), sim.call(request_id=name))
                ]

            return dict(zip(names, pool.map(both, names), strict=True))

    names = [f"q{number}" for number in range(120)]
    forwards = fates(start(profile), names)
    assert forwards == fates(start(profile), names[::-1])
    assert {status for both in forwards.values() for status, _ in both} == {200, 429, 500}


def test_a_call_refused_by_a_limit_does_not_shift_the_faults(start):
    profile = {"seed": 9, "faults": {"p_500": 0.5}}
    free, tight = start(profile), start({**profile, "limits": {"rpm": 0.06, "burst_s": 3000}})
    expected = [free.call(request_id="q").status_code for _ in range(6)]
    seen = [tight.call(request_id="q").status_code for _ in range(3)]
    assert tight.call(request_id="q").status_code == 429
    tight.config(limits={"rpm": None})
    seen += [tight.call(request_id="q").status_code for _ in range(3)]
    assert seen == expected


def test_an_outage_begins_and_ends_by_live_change(start):
    sim = start()
    sim.config(faults={"outages": [{"start_s": 0, "duration_s": 3600}]})
    response = sim.call()
    assert response.status_code == 503
    assert "retry-after" not in response.headers
    sim.config(faults={"outages": [{"start_s": 0, "duration_s": 3600, "kind": "reset"}]})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        sim.call()
    sim.config(faults={"outages": None})
    assert sim.call().status_code == 200
    assert sim.stats()["faults"] == {"outage": 2}


def test_stats_add_up(start):
    faults = {"p_429": 0.2, "p_500": 0.1, "p_reset": 0.1, "p_malformed": 0.1}
    price = {"input_per_mtok": 1, "output_per_mtok": 2}
    sim = start({"seed": 2, "faults": faults, "models": {"mini": {"price": price}, "big": {}}})

    def call(number: int) -> None:
        with contextlib.suppress(httpx.TransportError):
            sim.call(request_id=f"q{number % 50}", model="big" if number % 3 else "mini")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(300)))
    stats = sim.stats()
    ids, models = stats["ids"].values(), stats["models"].values()
    # A client that met a reset on a kept connection may have sent its call once more.
    assert stats["calls"] == sum(stats["status"].values()) == sum(one["calls"] for one in ids)
    assert stats["calls"] >= 300
    assert stats["billed_calls"] == sum(one["billed"] for one in ids)
    assert stats["billed_calls"] == sum(one["billed_calls"] for one in models)
    assert stats["billed_nusd"] == sum(one["billed_nusd"] for one in models)
    assert stats["billed_calls"] == stats["status"]["200"] + stats["faults"]["reset_billed"]
    assert stats["models"]["mini"]["billed_nusd"] == (
        stats["models"]["mini"]["prompt_tokens"] * 1000
        + stats["models"]["mini"]["completion_tokens"] * 2000
    )
    assert stats["models"]["big"]["billed_nusd"] == 0
    assert stats["in_flight"] == 0


def test_ids_are_paged(start):
    sim = start()
    for number in range(5):
        sim.call(request_id=f"q{number}")
    assert list(sim.stats("/stats?ids=1&offset=1&limit=2")["ids"]) == ["q1", "q2"]
    assert "ids" not in sim.stats("/stats")
    assert sim.client.get("/stats?ids=1&limit=x").status_code == 400


def test_several_providers_each_keep_their_own_account(start):
    sim = start(a={"models": {"mini": {}}}, b={"models": {"big": {}}, "seed": 1})
    assert sim.call(prefix="/a", request_id="q1").status_code == 200
    assert sim.call(prefix="/b", request_id="q1", model="big").status_code == 200
    assert sim.call(prefix="/b", request_id="q1").status_code == 404
    assert sim.call().status_code == 404
    assert sim.stats("/a/stats?ids=1")["ids"] == {"q1": {"calls": 1, "billed": 1}}
    whole = sim.stats()
    assert whole["ids"] == {"q1": {"calls": 3, "billed": 2}}
    assert whole["providers"]["b"]["status"] == {"200": 1, "404": 1}
    sim.client.post("/a/reset")
    assert sim.stats("/a/stats")["calls"] == 0
    assert sim.stats("/b/stats")["calls"] == 2
    sim.client.post("/reset")
    assert sim.stats()["calls"] == 0


def test_the_only_provider_needs_no_prefix(start):
    sim = start(lab={})
    assert sim.call().status_code == 200
    assert sim.call(prefix="/lab").status_code == 200
    assert sim.server.url("lab").endswith("/lab/v1")


def test_a_reset_repeats_the_run(start):
    sim = start({"faults": {"p_500": 0.5}})
    first = [sim.call(request_id="q").status_code for _ in range(20)]
    sim.client.post("/reset")
    assert [sim.call(request_id="q").status_code for _ in range(20)] == first


def test_live_changes_are_validated_and_hide_the_key(start):
    sim = start({"credential": "sk-secret-value"})
    bad = sim.config(faults={"p_500": 7})
    assert bad.status_code == 400
    assert "faults.p_500" in bad.json()["error"]["message"]
    assert sim.config(key_file="other.jsonl").status_code == 400
    assert sim.client.post("/config", content=b"[]").status_code == 400
    good = sim.config(seed=5)
    assert good.json()["seed"] == 5
    assert "sk-secret-value" not in good.text


def test_an_unknown_path_says_what_is_known(start):
    sim = start()
    response = sim.client.get("/v1/nothing")
    assert response.status_code == 404
    assert "/v1/chat/completions" in response.json()["error"]["message"]
    assert sim.client.get("/v1/chat/completions").status_code == 405


@pytest.mark.parametrize("name", ["v1", "stats", "a/b", "a b"])
def test_a_name_that_makes_no_path_is_refused(loop_thread, name):
    with pytest.raises(ConfigError, match="Rename"):
        loop_thread.run(serve({name: load_profile({})}))


def test_a_taken_port_is_explained(loop_thread):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ServiceError, match="another port"),
    ):
        loop_thread.run(serve({"": load_profile({})}, port=taken.getsockname()[1]))
