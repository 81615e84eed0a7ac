"""Space on the disk of a state folder, and what is said when there is none."""

import errno
import shutil
from pathlib import Path
from typing import Final

from batchyard.embedded.errors import DiskFullError

LEAST: Final = 32 * 2**20
"""Bytes below which nothing is begun: two segments of Postgres' write-ahead log."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: BaseException) -> bool:
    """Whether it says that no space is left, or no quota."""
    return isinstance(error, OSError) and error.errno in _FULL


def free(folder: Path) -> int:
    """Bytes that may still be written in the folder, or where it will be made."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(there).free


def shortage(folder: Path) -> str:
    """What is wrong with the space in the folder, with the remedy; empty where there is enough."""
    left = free(folder)
    if left >= LEAST:
        return ""
    return f"no space is left in {folder} ({left // 2**20} MB free): free some"


def require_space(folder: Path) -> None:
    """Raises DiskFullError where a yard could not begin."""
    if lacking := shortage(folder):
        raise DiskFullError(f"{lacking}, then `batchyard up` again")
