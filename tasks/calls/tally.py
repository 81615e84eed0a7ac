"""What a slice did, counted as its calls land."""

from dataclasses import dataclass

from core.money import usd_text
from core.status import ResultStatus
from core.work import Settled


@dataclass(slots=True)
class Tally:
    """What the slice did; its text is what Flower shows."""

    sent: int = 0
    completed: int = 0
    failed: int = 0
    retries: int = 0
    fallbacks: int = 0
    escalations: int = 0
    cost_nusd: int = 0

    def add(self, settled: Settled) -> None:
        self.sent += 1
        self.cost_nusd += settled.cost_nusd or 0
        if settled.result is not None:
            ok = settled.result.status == ResultStatus.COMPLETED
            self.completed += int(ok)
            self.failed += int(not ok)
        elif settled.move is not None:
            same = settled.move.candidate == settled.entry.chunk.candidate
            escalated = settled.kept is not None
            self.retries += int(same)
            self.escalations += int(escalated)
            self.fallbacks += int(not (same or escalated))

    def __str__(self) -> str:
        counts = {
            "sent": self.sent,
            "ok": self.completed,
            "to retry": self.retries,
            "fell back": self.fallbacks,
            "escalated": self.escalations,
            "failed": self.failed,
        }
        told = [f"{count:,} {what}" for what, count in counts.items() if count]
        return ", ".join([*told, f"${usd_text(self.cost_nusd)}"]) if told else "nothing sent"
