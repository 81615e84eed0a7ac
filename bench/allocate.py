"""The allocation of a million requests to five models, and how close it is to the best.

    python -m bench.allocate [--rows 1000000] [--models 5] [--seed 0]

Prices and qualities are drawn: dearer models are better on the whole, every request has its own
difficulty and taste. The budget lies between all-cheapest and unconstrained, the capacities bind.
Then the linear program of scipy (HiGHS) on 10,000 of the same rows, for comparison.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from routing.batch.allocation import Allocation, Capacity, allocate

SUB = 10_000
FILL = 0.6
"""Of what the models would have without capacities, the share that the capacities allow the
fullest; the others have room for what it loses."""


def drawn(rows: int, models: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Quality and cost in dollars, float32[rows, models]."""
    rng = np.random.default_rng(seed)
    level = np.linspace(0.45, 0.85, models)
    hard = rng.normal(0, 1, (rows, 1))
    taste = rng.normal(0, 0.6, (rows, models))
    quality = 1 / (1 + np.exp(-(np.log(level / (1 - level)) - hard + taste)))
    price = np.geomspace(1e-4, 1e-2, models)
    cost = price * rng.lognormal(0, 0.5, (rows, 1)) * rng.lognormal(0, 0.1, (rows, models))
    return quality.astype(np.float32), cost.astype(np.float32)


def bounds(
    quality: NDArray[np.float32], cost: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64]]:
    """A budget, and calls for each model, that both bind."""
    n, m = quality.shape
    least = float(cost.min(axis=1).sum(dtype=np.float64))
    most = float(cost[np.arange(n), quality.argmax(axis=1)].sum(dtype=np.float64))
    budget = least + 0.3 * (most - least)
    free = allocate(quality[: 2 * SUB], cost[: 2 * SUB], budget=budget * min(1, 2 * SUB / n))
    counts = free.counts / free.counts.sum()
    calls = np.where(counts > 1 / m, FILL * counts, counts + 1 / m)
    return budget, np.floor(n * calls)


def program(
    quality: NDArray[np.float32],
    cost: NDArray[np.float32],
    budget: float,
    calls: NDArray[np.float64],
) -> float:
    """The sum of quality of the linear program over all rows: nothing can be better."""
    n, m = quality.shape
    pairs = np.arange(n * m)
    one_each = sparse.csr_array((np.ones(n * m), (pairs // m, pairs)), shape=(n, n * m))
    by_model = sparse.csr_array((np.ones(n * m), (pairs % m, pairs)), shape=(m, n * m))
    spend = sparse.csr_array(cost.astype(np.float64).reshape(1, -1) * n / budget)
    found: Any = linprog(
        -quality.astype(np.float64).ravel(),
        A_ub=sparse.vstack([spend, by_model], format="csr"),
        b_ub=np.concatenate([[n], calls]),
        A_eq=one_each,
        b_eq=np.ones(n),
        method="highs",
    )
    return -float(found.fun)


def check(
    found: Allocation, cost: NDArray[np.float32], budget: float, calls: NDArray[np.float64]
) -> None:
    """Raises AssertionError where a limit is passed."""
    spend = cost[np.arange(len(cost)), found.choice].sum(dtype=np.float64)
    if spend > budget or (np.bincount(found.choice, minlength=len(calls)) > calls).any():
        raise AssertionError("a limit is passed")


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    quality, cost = drawn(asked.rows, asked.models, asked.seed)
    budget, calls = bounds(quality, cost)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    found = allocate(quality, cost, budget=budget, capacity=Capacity(calls=calls))
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    check(found, cost, budget, calls)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{asked.rows:,} x {asked.models}, a budget and {asked.models} capacities")
    print(f"  CPU {cpu:.2f} s, wall {ended - began:.2f} s, peak {after.ru_maxrss / 1024:.0f} MiB")
    print(f"  quality {found.quality:.6f}, ${found.spend:,.2f} of ${budget:,.2f}")
    print(f"  counts {found.counts.tolist()} of {calls.astype(int).tolist()}")
    small = slice(0, SUB)
    budget, calls = bounds(quality[small], cost[small])
    began = time.process_time()
    found = allocate(quality[small], cost[small], budget=budget, capacity=Capacity(calls=calls))
    took = time.process_time() - began
    check(found, cost[small], budget, calls)
    began = time.process_time()
    best = program(quality[small], cost[small], budget, calls) / SUB
    print(f"{SUB:,} x {asked.models} beside the linear program")
    print(
        f"  ours {found.quality:.6f} in {took:.2f} CPU-s, the program {best:.6f} in "
        f"{time.process_time() - began:.2f} CPU-s: {100 * (best - found.quality) / best:.4f} % less"
    )


if __name__ == "__main__":
    main()
