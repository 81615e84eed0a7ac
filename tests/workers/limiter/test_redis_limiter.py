"""The shared limiter on a real Redis-protocol server: what it grants, and to whom."""

import asyncio

import pytest
from redis.asyncio import Redis

from core.brake import Brake, Limit
from core.ports import Ask, Buckets, Return
from tests.workers.limiter.kit import calls, collect, limits, new_key, with_limiters
from workers.limiter.redis_limiter import RedisLimiter
from workers.limiter.usage import PREFIX


def test_two_processes_share_one_rate(broker_url: str) -> None:
    limit = limits(rpm=6000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        got = await asyncio.gather(collect(one, 2.0, limit), collect(two, 2.0, limit))
        # 100 a second for two seconds, and no more than the bucket of one second besides.
        assert 150 <= sum(got) <= 310

    with_limiters(broker_url, test)


def test_true_use_puts_the_bucket_into_debt(broker_url: str) -> None:
    limit = limits(tpm=60_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(0.3)
        grant = await one.acquire([limit], calls(20, 100))
        assert 1 <= grant.granted <= 6
        one.give_back([limit], Return(grant.granted, input=-5000))
        await asyncio.sleep(0.3)
        after = await one.acquire([limit], calls(1, 100))
        assert after.granted == 0
        assert after.wait > 3

    with_limiters(broker_url, test)


def test_input_and_output_are_counted_apart(broker_url: str) -> None:
    limit = limits(input_tpm=600_000, output_tpm=60)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.1)
        assert (await one.acquire([limit], [Ask(100, 0)] * 20)).granted == 20
        # Half of the output's one token a second is enough to begin, and leaves a debt.
        assert (await one.acquire([limit], [Ask(100, 30)] * 5)).granted == 1
        assert (await one.acquire([limit], [Ask(0, 1)])).wait > 10

    with_limiters(broker_url, test)


def test_a_call_larger_than_the_bucket_goes_when_the_bucket_is_full(broker_url: str) -> None:
    limit = limits(tpm=60_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.2)
        assert (await one.acquire([limit], calls(1, 50_000))).granted == 1
        assert (await one.acquire([limit], calls(1))).granted == 0

    with_limiters(broker_url, test)


def test_calls_in_flight_are_counted_over_processes_until_they_end(broker_url: str) -> None:
    limit = limits(in_flight=10)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        assert (await one.acquire([limit], calls(8))).granted == 8
        grant = await two.acquire([limit], calls(8))
        assert (grant.granted, grant.full) == (2, True)
        one.give_back([limit], Return(calls=8))
        await asyncio.sleep(0.3)
        assert (await two.acquire([limit], calls(20))).granted == 8

    with_limiters(broker_url, test)


def test_calls_of_a_dead_process_stop_counting(broker_url: str) -> None:
    limit = limits(in_flight=5)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        dying = RedisLimiter(broker_url, holder=new_key())
        assert (await dying.acquire([limit], calls(5))).granted == 5
        hasty = RedisLimiter(broker_url, holder=new_key(), expiry=0.3)
        assert (await hasty.acquire([limit], calls(5))).granted == 0
        await asyncio.sleep(0.5)
        assert (await hasty.acquire([limit], calls(5))).granted == 5
        await hasty.close()
        await dying.close()

    with_limiters(broker_url, test)


def test_a_call_takes_from_all_scopes_or_from_none(broker_url: str) -> None:
    line, key, project = limits(rpm=60_000), limits(rpm=60_000), limits(rpm=60)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        scopes = [line, key, project]
        await one.acquire(scopes, calls(1))
        await asyncio.sleep(1.2)
        assert (await one.acquire(scopes, calls(900))).granted == 1
        await asyncio.sleep(0.1)
        assert (await one.acquire([line, key], calls(990))).granted == 990

    with_limiters(broker_url, test)


def test_who_waits_is_told_for_whose_limits(broker_url: str) -> None:
    line, project = limits(rpm=6000), limits(rpm=1)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([line, project], calls(1))
        await asyncio.sleep(0.3)
        grant = await one.acquire([line, project], calls(1))
        assert (grant.granted, grant.brake) == (0, Brake(project.key, Limit.REQUESTS, 1))
        assert grant.wait > 10
        assert (await one.acquire([line], calls(1))).granted == 1
        await one.pause(line.key, 5)
        paused = await one.acquire([line, project], calls(1))
        assert paused.brake == Brake(line.key, Limit.PAUSE)

    with_limiters(broker_url, test)


def test_who_waits_is_told_which_limit_it_is(broker_url: str) -> None:
    tokens, apart = limits(tpm=600), limits(input_tpm=600_000, output_tpm=60)
    declared, learnt = limits(in_flight=3), limits()

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        told = {
            limit.key: (await one.acquire([limit], [Ask(100, 100)] * 40)).brake
            for limit in (tokens, apart, declared, learnt)
        }
        assert told == {
            tokens.key: Brake(tokens.key, Limit.TOKENS, 600),
            apart.key: Brake(apart.key, Limit.OUTPUT, 60),
            declared.key: Brake(declared.key, Limit.CALLS, 3),
            learnt.key: Brake(learnt.key, Limit.WINDOW, 16),
        }
        # By what the server says, and by what the process knows itself.
        for limiter in (two, one):
            full = await limiter.acquire([declared], calls(1))
            assert (full.full, full.brake) == (True, told[declared.key])

    with_limiters(broker_url, test)


def test_lines_on_one_key_share_its_limit(broker_url: str) -> None:
    key, first, second = limits(in_flight=6), limits(in_flight=100), limits(in_flight=100)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        grants = await asyncio.gather(
            one.acquire([first, key], calls(5)),
            one.acquire([second, key], calls(5)),
            two.acquire([second, key], calls(5)),
        )
        assert sum(grant.granted for grant in grants) == 6

    with_limiters(broker_url, test)


def test_a_pause_holds_for_everyone_and_is_never_cut_short(broker_url: str) -> None:
    limit = limits(rpm=60_000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.pause(limit.key, 30)
        await two.pause(limit.key, 1)
        for limiter in (one, two):
            assert (await limiter.acquire([limit], calls(1))).granted == 0
        fresh = RedisLimiter(broker_url, holder=new_key())
        assert (await fresh.acquire([limit], calls(1))).wait > 20
        assert fresh.paused(limit.key) > 20
        await fresh.close()

    with_limiters(broker_url, test)


def test_a_pause_that_is_lifted_is_over(broker_url: str) -> None:
    limit = limits(in_flight=10)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.pause(limit.key, 86_400)
        assert (await two.acquire([limit], calls(1))).granted == 0
        for limiter in (one, two):
            await limiter.lift(limit.key)
            assert (await limiter.acquire([limit], calls(1))).granted == 1

    with_limiters(broker_url, test)


def test_a_pause_that_comes_while_leave_is_on_its_way_is_heeded(broker_url: str) -> None:
    limit = limits(in_flight=10)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        asking = asyncio.create_task(one.acquire([limit], calls(5)))
        await asyncio.sleep(0)
        await one.pause(limit.key, 30)
        grant = await asking
        assert grant.granted == 0
        assert grant.wait > 20

    with_limiters(broker_url, test)


def test_a_flushed_limiter_starts_with_empty_buckets(broker_url: str) -> None:
    limit = limits(rpm=6000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(0.5)
        async with Redis.from_url(broker_url) as server:
            await server.delete(f"{PREFIX}{limit.key}:state")
        assert (await two.acquire([limit], calls(1))).granted == 0

    with_limiters(broker_url, test)


@pytest.mark.parametrize("number", [1, 8])
def test_without_limits_the_first_calls_are_granted(broker_url: str, number: int) -> None:
    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        assert (await one.acquire([limits()], calls(number))).granted == number

    with_limiters(broker_url, test)


def test_waiting_lanes_of_a_process_ask_the_server_once(broker_url: str) -> None:
    limit = limits(rpm=60)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        async with Redis.from_url(broker_url) as server:
            await one.acquire([limit], calls(1))
            before = (await server.info("commandstats"))["cmdstat_evalsha"]["calls"]
            grants = await asyncio.gather(*(one.acquire([limit], calls(9)) for _ in range(50)))
            after = (await server.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert all(grant.granted == 0 and grant.wait > 0 for grant in grants)
        assert after - before <= 3

    with_limiters(broker_url, test)


# Express.


def test_the_express_share_is_kept_from_batch_and_costs_it_no_rate(broker_url: str) -> None:
    limit = limits(rpm=6000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.2)
        batch = await one.acquire([limit], calls(200))
        assert 75 <= batch.granted <= 85
        express = await two.acquire([limit], calls(15), express=True)
        assert express.granted == 15

    with_limiters(broker_url, test, share=0.2)


def test_batch_has_the_whole_rate_although_a_share_is_kept(broker_url: str) -> None:
    limit = limits(rpm=6000)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(0.6)
        got = await asyncio.gather(collect(one, 2.0, limit), collect(two, 2.0, limit))
        assert sum(got) >= 190

    with_limiters(broker_url, test, share=0.5)


def test_calls_at_once_are_kept_only_while_express_is_in_use(broker_url: str) -> None:
    limit = limits(in_flight=10)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        assert (await one.acquire([limit], calls(10))).granted == 10
        one.give_back([limit], Return(calls=10))
        assert (await one.acquire([limit], calls(1), express=True)).granted == 1
        assert (await one.acquire([limit], calls(10))).granted == 7
        assert (await two.acquire([limit], calls(1))).granted == 0
        assert (await two.acquire([limit], calls(2), express=True)).granted == 2

    with_limiters(broker_url, test, share=0.2)


def test_buckets_never_hold_less_than_one_call(broker_url: str) -> None:
    """One request a minute and a large kept share: still one a minute."""
    limit = limits(rpm=120, tpm=60)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.2)
        assert (await one.acquire([limit], calls(5, 1))).granted == 1

    with_limiters(broker_url, test, share=0.5)


def test_what_was_not_sent_comes_back_whole(broker_url: str) -> None:
    limit = Buckets(new_key(), 60_000, 60_000_000)

    async def test(one: RedisLimiter, _: RedisLimiter) -> None:
        await one.acquire([limit], calls(1))
        await asyncio.sleep(1.1)
        assert (await one.acquire([limit], calls(1000, 1000))).granted == 1000
        one.give_back([limit], Return(1000, 1000, 1_000_000))
        assert (await one.acquire([limit], calls(990, 1000))).granted == 990

    with_limiters(broker_url, test)


def test_usage_shows_what_is_in_force_and_how_full_it_is(broker_url: str) -> None:
    line, key, unused = limits(rpm=6000, in_flight=50), limits(tpm=60_000), limits(rpm=1)

    async def test(one: RedisLimiter, two: RedisLimiter) -> None:
        await one.acquire([line, key], calls(1))
        await asyncio.sleep(1.2)
        assert (await one.acquire([line, key], calls(20))).granted == 20
        await two.pause(line.key, 30)
        found = {use.key: use for use in await two.usage([line.key, key.key, unused.key])}
        assert set(found) == {line.key, key.key}
        use = found[line.key]
        assert (use.in_flight, use.most, use.factor) == (20, 50, 1.0)
        assert 25 < use.pause <= 30.1
        assert list(use.levels) == ["requests"]
        assert use.levels["requests"].rate == 6000
        assert use.levels["requests"].left == pytest.approx(80, abs=1)
        assert list(found[key.key].levels) == ["tokens"]

    with_limiters(broker_url, test)
