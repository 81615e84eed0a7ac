"""The books of one commit: what is reserved, settled, released and adjusted.

Every line carries the commit's id, so that each attempt stands in exactly one settle line.
Lines of amount 0 are written too: they mark that the commit happened.
"""

from collections import defaultdict
from typing import Any

from core.status import LedgerKind
from core.work import GiveBack, LeasedChunk, Settled, Window

UNLIMITED = 1 << 62


class Books:
    """Collects a commit's movements of money, nano-dollars by account and kind."""

    def __init__(self, commit_id: int) -> None:
        self._commit_id = commit_id
        self._moves: dict[tuple[int, str], int] = defaultdict(int)
        self._room: dict[int, int] = {}
        self._reserved: dict[int, int] = {}

    def _add(self, chunk: LeasedChunk, kind: LedgerKind, amount: int) -> None:
        for account in chunk.accounts:
            self._moves[account, kind] += amount

    def settle(self, settled: Settled) -> None:
        """A call has ended: its bound is released, its cost is spent."""
        self._add(settled.entry.chunk, LedgerKind.SETTLE, settled.cost_nusd or 0)
        self._add(settled.entry.chunk, LedgerKind.RELEASE, -settled.entry.bound)

    def adjust(self, chunk: LeasedChunk, delta: int) -> None:
        """A cost that stood at its bound is known now."""
        self._add(chunk, LedgerKind.ADJUST, delta)

    def take_back(self, back: GiveBack) -> None:
        """Intended, never sent: the reservation is released."""
        chunk = back.chunk
        amount = sum(chunk.bounds[chunk.sent - back.unsent : chunk.sent])
        self._add(chunk, LedgerKind.RELEASE, -amount)

    def know(self, rows: list[tuple[Any, ...]]) -> None:
        """The locked accounts: (id, spent, reserved, limit or None)."""
        for id_, spent, reserved, limit in rows:
            spent += self._moved(id_, LedgerKind.SETTLE) + self._moved(id_, LedgerKind.ADJUST)
            reserved += self._moved(id_, LedgerKind.RELEASE)
            self._reserved[id_] = reserved
            self._room[id_] = UNLIMITED if limit is None else limit - spent - reserved

    def _moved(self, account: int, kind: LedgerKind) -> int:
        return self._moves.get((account, kind), 0)

    def reserve(self, window: Window) -> int:
        """Reserves for as many of the window's entries, in order, as every account has room
        for; returns how many."""
        chunk = window.chunk
        room = min(self._room.get(account, UNLIMITED) for account in chunk.accounts)
        granted, amount = 0, 0
        for bound in chunk.bounds[chunk.sent : chunk.sent + window.size]:
            if amount + bound > room:
                break
            granted, amount = granted + 1, amount + bound
        self._add(chunk, LedgerKind.RESERVE, amount)
        for account in chunk.accounts:
            if account in self._room:
                self._room[account] -= amount
                self._reserved[account] += amount
        return granted

    def hopeless(self, window: Window) -> bool:
        """Whether waiting cannot help: no account that is short has anything reserved."""
        need = window.chunk.bounds[window.chunk.sent]
        short = [a for a in window.chunk.accounts if self._room.get(a, UNLIMITED) < need]
        return all(self._reserved[account] == 0 for account in short)

    def lines(self) -> dict[str, object]:
        """Parameters of `write_ledger`."""
        keys = sorted(self._moves)
        return {
            "commit_id": self._commit_id,
            "accounts": [account for account, _ in keys],
            "kinds": [str(kind) for _, kind in keys],
            "amounts": [self._moves[key] for key in keys],
        }

    def totals(self) -> dict[str, object]:
        """Parameters of `move_accounts`."""
        spent: dict[int, int] = defaultdict(int)
        reserved: dict[int, int] = defaultdict(int)
        for (account, kind), amount in self._moves.items():
            into = spent if kind in (LedgerKind.SETTLE, LedgerKind.ADJUST) else reserved
            into[account] += amount
        ids = sorted({account for account, _ in self._moves})
        return {
            "ids": ids,
            "spent": [spent[id_] for id_ in ids],
            "reserved": [reserved[id_] for id_ in ids],
        }
