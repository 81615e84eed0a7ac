"""Which of a bench's cases are to run: all of them where none is named."""

import argparse
from collections.abc import Iterable


def add_cases(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """The argument `cases`, a list of these names. argparse's own `choices` do not know that a
    list may be empty."""
    known = list(names)

    def case(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return name

    told = ", ".join(known).replace("%", "%%")
    parser.add_argument("cases", nargs="*", default=known, metavar="CASE", type=case, help=told)
