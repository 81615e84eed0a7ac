"""What holds of the limits whatever is asked by whom, in which order."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ports import Return
from tests.workers.limiter.kit import calls, limits, with_limiters
from workers.limiter.redis_limiter import RedisLimiter

STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # process
        st.integers(0, 2),  # line
        st.booleans(),  # in the project or not
        st.integers(-8, 8),  # calls that end (below zero), or are asked for
        st.booleans(),  # express
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_no_scope_has_more_calls_in_flight_than_it_may(
    broker_url: str, steps: list[tuple[int, int, bool, int, bool]]
) -> None:
    """Two lines share a key, a third has its own; some calls are a project's. All processes and
    scopes together never exceed a limit, and what has ended can be had again."""
    key, project = limits(in_flight=9), limits(in_flight=6)
    lines = [limits(in_flight=7) for _ in range(3)]
    most = {scope.key: scope.in_flight for scope in (key, project, *lines)}

    async def test(*limiters: RedisLimiter) -> None:
        flying: Counter[tuple[int, int, bool]] = Counter()
        for process, line, inside, number, express in steps:
            scopes = [lines[line], *([key] if line < 2 else []), *([project] if inside else [])]
            limiter, kind = limiters[process], (process, line, inside)
            if number < 0:
                ended = min(-number, flying[kind])
                limiter.give_back(scopes, Return(calls=ended))
                flying[kind] -= ended
                continue
            grant = await limiter.acquire(scopes, calls(number), express=express)
            assert 0 <= grant.granted <= number
            flying[kind] += grant.granted
            used: Counter[str] = Counter()
            for (_, its, within), count in flying.items():
                used[lines[its].key] += count
                used[key.key] += count if its < 2 else 0
                used[project.key] += count if within else 0
            assert all(used[name] <= limit for name, limit in most.items() if limit)
        for (process, its, within), count in flying.items():
            scopes = [lines[its], *([key] if its < 2 else []), *([project] if within else [])]
            limiters[process].give_back(scopes, Return(calls=count))
        for limiter in limiters:
            await limiter.touch()
        grant = await limiters[0].acquire([lines[0], key, project], calls(9), express=True)
        assert grant.granted == 6

    with_limiters(broker_url, test, share=0.2)
