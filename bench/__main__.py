"""`python -m bench BENCH`: claims, dispatch, fairness, limits, peers, prompt-cpu, router-budgets,
router-cascade, router-desk, router-overhead, router-savings, router-targets, strays, tail or
volume; without a name the two that take a minute each: prompt-cpu and claims."""

import argparse
import sys

from bench import (
    claims,
    dispatch,
    fairness,
    limits,
    peers,
    prompt_cpu,
    router_budgets,
    router_cascade,
    router_desk,
    router_overhead,
    router_savings,
    router_targets,
    strays,
    tail,
    volume,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    benches = parser.add_subparsers(dest="bench", metavar="BENCH")
    prompt_cpu.add_arguments(benches.add_parser("prompt-cpu", help=prompt_cpu.HELP))
    claims.add_arguments(benches.add_parser("claims", help=claims.HELP))
    dispatch.add_arguments(benches.add_parser("dispatch", help=dispatch.HELP))
    limits.add_arguments(benches.add_parser("limits", help=limits.HELP))
    strays.add_arguments(benches.add_parser("strays", help=strays.HELP))
    tail.add_arguments(benches.add_parser("tail", help=tail.HELP))
    peers.add_arguments(benches.add_parser("peers", help=peers.HELP))
    volume.add_arguments(benches.add_parser("volume", help=volume.HELP))
    fairness.add_arguments(benches.add_parser("fairness", help=fairness.HELP))
    router_budgets.add_arguments(benches.add_parser("router-budgets", help=router_budgets.HELP))
    router_cascade.add_arguments(benches.add_parser("router-cascade", help=router_cascade.HELP))
    router_desk.add_arguments(benches.add_parser("router-desk", help=router_desk.HELP))
    router_overhead.add_arguments(benches.add_parser("router-overhead", help=router_overhead.HELP))
    router_savings.add_arguments(benches.add_parser("router-savings", help=router_savings.HELP))
    router_targets.add_arguments(benches.add_parser("router-targets", help=router_targets.HELP))
    arguments = parser.parse_args()
    if arguments.bench is not None:
        return int(arguments.run(arguments))
    results = []
    for name in ("prompt-cpu", "claims"):
        given = parser.parse_args([*(["--json"] if arguments.json else []), name])
        results.append(int(given.run(given)))
    return max(results)


sys.exit(main())
