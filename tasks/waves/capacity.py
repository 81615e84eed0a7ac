"""What each candidate can do for a job until its deadline.

By the limits in force, which are those declared, or lower ones that calls have been held back by
lately (`db/brakes.py`: the limiter learns what a provider truly allows); less what other jobs have
there, and what of this one is out. Dispatch shares a deployment out, so that others take no more
than their share of it, nor more than they have.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from core.brake import Limit
from core.deployment import Deployment
from core.settings import configured_name
from tasks.waves.rows import Floats, Requests, Seen


def calls(seen: Seen, names: Sequence[str], requests: Requests) -> Floats | None:
    """Calls of each candidate, float64[m]; None without a deadline, or without limits."""
    if seen.job.left_s is None:
        return None
    rates, theirs, jobs, own = np.zeros((4, len(names)))
    for line, deployment in seen.deployments.items():
        if (name := configured_name(line)) in names:
            at = names.index(name)
            rates[at] += min(_rates(seen, line, deployment, requests), default=np.inf)
            if (other := seen.others.get(line)) is not None:
                theirs[at] += other.requests
                jobs[at] = max(jobs[at], other.jobs)
    for out in seen.out:
        if (name := configured_name(out.deployment)) in names:
            own[names.index(name)] += len(out.seqs)
    # Without a limit, and without time, it is none: infinity times 0 is no number.
    most = rates * max(seen.job.left_s, 1e-9)
    found = np.floor(np.maximum(np.maximum(most - theirs, most / (jobs + 1)) - own, 0.0))
    return found if np.isfinite(found).any() else None


def _rates(seen: Seen, line: str, deployment: Deployment, requests: Requests) -> Iterator[float]:
    """Calls a second as each limit in force allows, at the latency that was seen."""
    vital = seen.vitals.get(line)
    latency = None if vital is None else vital.latency_ms
    into, out = float(requests.tokens.mean()), float(requests.outputs.mean())
    tokens = {Limit.TOKENS: into + out, Limit.INPUT: into, Limit.OUTPUT: out}
    for what, most in _limits(seen, line, deployment).items():
        if what is Limit.REQUESTS:
            yield most / 60
        elif what in tokens:
            yield most / 60 / max(tokens[what], 1.0)
        elif latency:
            yield most / (latency / 1000)


def _limits(seen: Seen, line: str, deployment: Deployment) -> dict[Limit, float]:
    buckets = deployment.buckets
    declared = {
        Limit.REQUESTS: buckets.rpm,
        Limit.TOKENS: buckets.tpm,
        Limit.INPUT: buckets.input_tpm,
        Limit.OUTPUT: buckets.output_tpm,
        Limit.CALLS: buckets.in_flight,
    }
    found = {what: float(most) for what, most in declared.items() if most is not None}
    for one in seen.brakes:
        what = Limit(one.what)
        if one.deployment == line and one.most > 0 and what not in (Limit.PAUSE, Limit.SERVER):
            found[what] = min(found.get(what, np.inf), one.most)
    return found
