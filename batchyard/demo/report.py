"""What the demo found out: answers against the gold labels, and what the yard did to get them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.demo.plan import CLOUDS, LOCAL, Material, local_messages
from core.ids import job_name
from core.money import usd_text
from db.jobs import JobView, Share

# The part of a deployment's calls over which its rate is measured: the first of them fill the
# pipe, the last are stragglers that wait for their retry.
STEADY = (0.05, 0.90)


@dataclass(slots=True)
class Grade:
    """Answers of one deployment, and how many of them were right."""

    answers: int = 0
    right: int = 0

    @property
    def accuracy(self) -> float | None:
        """None where it gave no answer."""
        return self.right / self.answers if self.answers else None


@dataclass(frozen=True, slots=True)
class Sample:
    """Calls recorded by deployment at a moment (seconds of any clock)."""

    at: float
    calls: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One deployment in the report. `stated` is the accuracy that a simulated cloud was given,
    None for a real model; `rate_used` is the share of its declared calls a minute."""

    deployment: str
    results: int
    share: float
    calls: int
    retries: int
    fallbacks: int
    throttled: int
    cost_usd: str | None
    labels: int
    accuracy: float | None
    stated: float | None
    limits: Mapping[str, int]
    rate_used: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are: paths, and Flower's URL."""

    home: str
    lines_file: str
    results_file: str
    flower_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What became of the messages on one route. `right` of `answered` counts those that are the
    desk's business; `kept_out` are strange ones that ended as out of scope, of `strange`, and
    `shut_out` those of the desk's that did."""

    route: str
    job: str
    status: str
    answered: int
    right: int
    kept_out: int
    strange: int
    shut_out: int
    asked: int
    cost_usd: str | None
    cost_nusd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Both ways, the best cloud alone first; an example of what was kept out, and the question
    that was asked back."""

    ways: tuple[Way, ...]
    stranger: str
    question: str

    @property
    def saved(self) -> float:
        """The share of the best cloud's cost that the router saves."""
        alone, routed = self.ways
        return 1 - routed.cost_nusd / alone.cost_nusd if alone.cost_nusd else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole demo; `desk` is its second part. `missing` says why there was no local model;
    `billed_usd` is what the simulated clouds say they billed for the first part; `in_doubt` calls
    are booked at their upper bound, because their answers never came; `violations` is what the
    audit found."""

    job: str
    status: str
    total: int
    completed: int
    failed: int
    calls: int
    retries: int
    fallbacks: int
    throttled: int
    in_doubt: int
    cost_usd: str | None
    budget_usd: str | None
    billed_usd: str
    seconds: float
    setup_seconds: float
    rows: Sequence[Row]
    violations: Sequence[str]
    places: Places
    missing: str
    desk: Desk | None = None

    @property
    def ok(self) -> bool:
        """Whether every request has its answer or its word, and the audit agrees."""
        done = [self.status, *(way.status for way in (self.desk.ways if self.desk else ()))]
        return {*done} == {"completed"} and not self.failed and not self.violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen: the ended job, its results' lines, how the calls went up."""

    view: JobView
    lines: Iterable[Mapping[str, Any]]
    samples: Sequence[Sample]
    billed_usd: str
    violations: Sequence[str]
    setup_seconds: float
    missing: str


def make_report(material: Material, facts: Facts, places: Places) -> Report:
    """Grades the answers and adds everything up."""
    view, shares = facts.view, facts.view.shares
    grades = grade(facts.lines, gold(material))
    return Report(
        job=job_name(view.id),
        status=view.status,
        total=view.total,
        completed=view.completed,
        failed=view.failed,
        calls=sum(share.attempts for share in shares),
        retries=sum(share.retries for share in shares),
        fallbacks=sum(share.fallbacks for share in shares),
        throttled=sum(share.throttled for share in shares),
        in_doubt=sum(share.unknown for share in shares),
        cost_usd=view.cost_usd,
        budget_usd=usd_text(view.limit_nusd),
        billed_usd=facts.billed_usd,
        seconds=round(view.seconds, 1),
        setup_seconds=round(facts.setup_seconds, 1),
        rows=make_rows(view, grades, facts.samples, material),
        violations=facts.violations,
        places=places,
        missing=facts.missing,
    )


def gold(material: Material) -> dict[str, str]:
    """The right answer of every line by custom_id."""
    fine = {message.id: message.label for message in material.messages}
    coarse = {f"{m.id}-{LOCAL}": m.coarse for m in local_messages(material.messages)}
    return fine | coarse


def label_of(text: str) -> str:
    """The label in an answer, whatever its case and what stands around it."""
    return text.strip().strip("\"'`*.").strip().casefold()


def grade(lines: Iterable[Mapping[str, Any]], right: Mapping[str, str]) -> dict[str, Grade]:
    """Grades by deployment, from lines of a results file; only answers count."""
    grades: dict[str, Grade] = {}
    for line in lines:
        response = line["response"]
        if response is None or response["status_code"] != 200:
            continue
        one = grades.setdefault(line["batchyard"]["deployment"], Grade())
        content = response["body"]["choices"][0]["message"]["content"] or ""
        one.answers += 1
        one.right += label_of(content) == right[line["custom_id"]].casefold()
    return grades


def rate_used(samples: Sequence[Sample], deployment: str, rpm: int) -> float | None:
    """The calls a minute of the steady part, as a share of the declared ones.

    None where there were too few calls to say.
    """
    last = samples[-1].calls.get(deployment, 0) if samples else 0
    low, high = (last * edge for edge in STEADY)
    steady = [one for one in samples if low <= one.calls.get(deployment, 0) <= high]
    if not last or len(steady) < 3:
        return None
    calls = steady[-1].calls[deployment] - steady[0].calls[deployment]
    seconds = steady[-1].at - steady[0].at
    return calls / seconds * 60 / rpm if seconds > 0 else None


def make_rows(
    view: JobView,
    grades: Mapping[str, Grade],
    samples: Sequence[Sample],
    material: Material,
) -> tuple[Row, ...]:
    """A row for every deployment that was called: the clouds first, then the local model."""
    shares = {share.deployment: share for share in view.shares}
    names = [name for name in (*CLOUDS, LOCAL) if name in shares]
    return tuple(
        _row(shares[name], view.completed, grades.get(name, Grade()), samples, material)
        for name in names
    )


def _row(
    share: Share, completed: int, graded: Grade, samples: Sequence[Sample], material: Material
) -> Row:
    cloud = CLOUDS.get(share.deployment)
    limits = cloud.limits if cloud else {}
    rpm = limits.get("rpm")
    return Row(
        deployment=share.deployment,
        results=share.completed,
        share=share.completed / completed if completed else 0.0,
        calls=share.attempts,
        retries=share.retries,
        fallbacks=share.fallbacks,
        throttled=share.throttled,
        cost_usd=share.cost_usd,
        labels=len(material.labels if cloud else material.topics),
        accuracy=graded.accuracy,
        stated=cloud.accuracy if cloud else None,
        limits=limits,
        rate_used=rate_used(samples, share.deployment, rpm) if rpm else None,
    )
