"""Submit: a file of lines becomes a job, its requests and its route chunks, or nothing at all."""

import difflib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from core.deadline import Deadline
from core.errors import BatchyardError, ConfigError, InputError, LineProblem, NotFoundError
from core.ids import DEFAULT_PROJECT
from core.lazy import lazy
from core.pilot import PilotOptions
from core.settings import ProjectSettings, Settings, configured_name
from core.strict import NAME_PATTERN, suggest
from db import requests
from db.connect import Connection
from db.lifecycle import (
    NewJob,
    give_back_job_id,
    next_job_id,
    put_event,
    put_job,
    time_of,
)
from db.parts import attach_part, create_part, is_large, is_own, month_part, own_part
from db.projects import Project, open_project
from db.requests import RequestBlocks, Row
from db.scores import put_scoring
from evaluation.scorers import EXACT
from routing.targets import DEFAULT_ROUTE, Target, known_targets, resolve_target
from tasks.bell import ring
from tasks.context import Context
from tasks.intake.gold import Gold
from tasks.intake.line import Intake, empty_row
from tasks.intake.sources import Source, estimate_lines, is_file, read_lines, source_name
from tasks.router.check import check_pilot, check_routers
from tasks.router.intents import link_intents

if TYPE_CHECKING:
    from tasks.router import sample
else:
    sample = lazy("tasks.router.sample")

MAX_PROBLEMS = 100
SPOOL = 4 * 2**20
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """`route` is what lines without a model use; it may also name a deployment or a model.
    `budget_nusd` is in nano-dollars. `weight` is the job's among its project's jobs; what is
    not done by the `deadline` is not called any more. Answers are scored beside `gold`, a
    column of the requests' metadata, by `scorer` (evaluation/scorers.py). `how_to_skip` is how
    the caller writes `skip_bad_lines`, for messages."""

    project: str = DEFAULT_PROJECT
    route: str | None = None
    budget_nusd: int | None = None
    weight: float = 1.0
    deadline: Deadline | None = None
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    pilot: PilotOptions | None = None
    gold: str | None = None
    scorer: str | None = None
    skip_bad_lines: bool = False
    how_to_skip: str = "skip_bad_lines=True"


def _unseen(_: int) -> None:
    """Nobody looks."""


async def submit(
    ctx: Context, source: Source, options: SubmitOptions, progress: Progress = _unseen
) -> int:
    """Reads the source into a new job and rings for its routing; returns the job's id.
    `progress` hears now and then, and at the end, how many requests have been read.

    Raises InputError when the input is refused (nothing is kept), NotFoundError for an unknown
    route, ConfigError when a budget meets a deployment of unknown price.
    """
    _check_options(ctx, options)
    async with ctx.pool.connection() as conn:
        weighs = ctx.settings.projects.get(options.project, ProjectSettings()).weight
        project = await open_project(conn, options.project, weighs)
        if options.route:
            # Before a long file is read; what its lines name is looked at when they are known.
            await check_routers(conn, project.id, ctx.settings, _to_check([options.route], options))
        deadline = None if options.deadline is None else await time_of(conn, options.deadline)
        job_id = await next_job_id(conn)
        large = is_large(estimate_lines(source))
        part = own_part(job_id) if large else await month_part(conn)
        taking = _Taking(ctx, source, options, part, deadline, progress)
        try:
            async with conn.transaction():
                step = await taking.run(conn, project, job_id)
        except BatchyardError:
            await give_back_job_id(conn, job_id)
            raise
    await ring(ctx, step, job_id)
    return job_id


def _check_options(ctx: Context, options: SubmitOptions) -> None:
    _check_project(ctx.settings, options.project)
    if not LEAST_WEIGHT <= options.weight <= MOST_WEIGHT:
        raise InputError(
            f"A job's weight is between {LEAST_WEIGHT} and {MOST_WEIGHT}, not {options.weight:g}. "
            "1 is usual, a job of weight 2 gets twice as much as one of weight 1"
        )
    route = options.route or DEFAULT_ROUTE
    if options.route and resolve_target(route, ctx.settings) is None:
        raise NotFoundError(f"There is no route {route!r}. {_suggestion(ctx, route)}")
    if options.pilot is not None:
        check_pilot(ctx.settings, route, options.pilot)
    pairs = options.metadata.items()
    if len(pairs) > MAX_PAIRS or any(len(k) > MAX_KEY or len(v) > MAX_VALUE for k, v in pairs):
        raise InputError(
            f"A job's metadata has up to {MAX_PAIRS} pairs, keys of up to {MAX_KEY} characters "
            f"and values of up to {MAX_VALUE}. Shorten it"
        )


def _to_check(targets: list[str], options: SubmitOptions) -> list[str]:
    """Targets whose routers have to have learned already: a pilot teaches that of its route."""
    return [one for one in targets if options.pilot is None or one != options.route]


def _check_project(settings: Settings, name: str) -> None:
    """Where projects are configured, a misspelt one would be without its limits."""
    if settings.projects and name not in (DEFAULT_PROJECT, *settings.projects):
        raise NotFoundError(
            f"There is no project {name!r} under projects. {suggest(name, settings.projects)}"
        )
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(
            f"{name!r} cannot be a project's name. Use up to 64 letters, digits, dots, dashes "
            "and underscores"
        )


class _Taking:
    """One submit's way through its transaction."""

    def __init__(
        self,
        ctx: Context,
        source: Source,
        options: SubmitOptions,
        part: int,
        deadline: datetime | None,
        progress: Progress,
    ) -> None:
        self._ctx = ctx
        self._source = source
        self._options = options
        self._part = part
        self._deadline = deadline
        self._progress = progress
        self._route = options.route or DEFAULT_ROUTE
        self._noun = "line" if is_file(source) else "item"
        self._problems: list[LineProblem] = []
        self._gold = _gold(options)

    async def run(self, conn: Connection, project: Project, job_id: int) -> str:
        """Everything between begin and commit; which step to ring for."""
        await requests.expect_many_rows(conn)
        with tempfile.SpooledTemporaryFile(SPOOL) as spool:
            blocks = RequestBlocks(self._part, job_id, spool)
            if is_own(self._part):
                await create_part(conn, self._part)
            intake = await self._copy(conn, blocks)
            self._progress(blocks.total)
            targets = _to_check(intake.targets, self._options)
            await check_routers(conn, project.id, self._ctx.settings, targets)
            if is_own(self._part):
                await attach_part(conn, self._part)
            refused = await self._refuse(conn, job_id, blocks)
        await put_job(conn, self._job(job_id, project, blocks.total, refused))
        if self._gold is not None:
            await put_scoring(conn, job_id, self._gold.column, self._gold.scorer)
        chunks = await requests.put_route_chunks(conn, self._part, job_id, blocks.total)
        event = {"total": blocks.total, "refused": refused, "targets": intake.targets}
        await put_event(conn, job_id, "submitted", event)
        await link_intents(self._ctx, conn, job_id, intake.targets)
        await self._link_pilot(conn, job_id)
        return "route" if chunks else "finish"

    async def _link_pilot(self, conn: Connection, job_id: int) -> None:
        options = self._options
        if options.pilot is None:
            return
        await sample.link_pilot(
            self._ctx,
            conn,
            options.pilot,
            job_id=job_id,
            part=self._part,
            route=self._route,
            budget_nusd=options.budget_nusd,
            scorer=None if self._gold is None else self._gold.scorer,
        )

    def _job(self, job_id: int, project: Project, total: int, refused: int) -> NewJob:
        options = self._options
        return NewJob(
            id=job_id,
            project=project,
            part=self._part,
            name=options.name,
            route=self._route,
            source=source_name(self._source),
            config_digest=self._ctx.settings.digest(),
            metadata=options.metadata,
            limit_nusd=options.budget_nusd,
            total=total,
            refused=refused,
            weight=options.weight,
            deadline=self._deadline,
        )

    async def _copy(self, conn: Connection, blocks: RequestBlocks) -> Intake:
        intake = Intake(self._resolve, self._route, self._longest)
        statement = requests.copy_statement(self._part)
        async with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for number, line in read_lines(self._source):
                row = intake.read(number, line) if isinstance(line, bytes) else line
                if self._gold is not None and isinstance(row, Row):
                    row = self._gold.check(number, row) or row
                if isinstance(row, Row):
                    full = blocks.add(number, row)
                elif self._options.skip_bad_lines:
                    full = blocks.add(number, empty_row(row, line, self._route))
                    blocks.refuse(_error_json(row))
                else:
                    full = False
                    self._problems.append(row)
                    if len(self._problems) >= MAX_PROBLEMS:
                        raise self._refusal()
                if full:
                    await copy.write(blocks.take())
                    self._progress(blocks.total)
            await copy.write(blocks.take() + requests.TRAILER)
        return intake

    async def _refuse(self, conn: Connection, job_id: int, blocks: RequestBlocks) -> int:
        """Fails or refuses what is bad; returns how many requests failed at once."""
        if blocks.total == 0 and not self._problems:
            raise self._nothing()
        if self._gold is not None and not self._problems:
            self._gold.check_any()
        if self._options.skip_bad_lines and blocks.total:
            await requests.copy_refusals(conn, blocks)
            if blocks.in_order:
                return blocks.refused
            return blocks.refused + await requests.refuse_duplicates(conn, self._part, job_id)
        twice: list[requests.Duplicate] = []
        if not blocks.in_order:
            twice = await requests.duplicates(conn, self._part, job_id, MAX_PROBLEMS)
        self._problems += [
            LineProblem(
                row,
                "custom_id",
                f"{custom_id!r} was already used on {self._noun} {first}",
                f"Give every {self._noun} its own",
                "duplicate_custom_id",
            )
            for row, first, custom_id in twice
        ]
        if self._problems:
            raise self._refusal()
        return 0

    def _refusal(self) -> InputError:
        problems = sorted(self._problems, key=lambda problem: problem.line)[:MAX_PROBLEMS]
        count = len(problems)
        more = "at least " if count >= MAX_PROBLEMS else ""
        nouns = self._noun if count == 1 else f"{self._noun}s"
        return InputError(
            f"{source_name(self._source)}: {more}{count} bad {nouns}, so nothing was submitted. "
            f"Mend the input, or keep its good {self._noun}s with {self._options.how_to_skip}",
            tuple(problems),
            self._noun,
        )

    def _nothing(self) -> InputError:
        fix = 'Write one JSON object a line, e.g. {"prompt": "…"}'
        if self._noun == "item":
            fix = "Give strings, which are prompts, or dicts"
        return InputError(f"there is no request in {source_name(self._source)}. {fix}")

    def _resolve(self, name: str) -> str | None:
        target = resolve_target(name, self._ctx.settings)
        if target is None:
            return _suggestion(self._ctx, name)
        if self._options.budget_nusd is not None:
            _check_prices(self._ctx, target)
        return None

    def _longest(self, names: Iterable[str]) -> float:
        """Seconds that a call to any of these may last at most."""
        settings = self._ctx.settings
        targets = (resolve_target(name, settings) for name in names)
        lines = (line for target in targets if target for line in target.candidates)
        deployments = (settings.deployments[configured_name(line)] for line in lines)
        return max(settings.providers[one.provider].timeout for one in deployments)


def _gold(options: SubmitOptions) -> Gold | None:
    """What looks at the right answers; None where the job has none. Raises InputError."""
    if options.gold is not None:
        return Gold(options.gold, options.scorer or EXACT)
    if options.scorer is not None:
        raise InputError(
            "A scorer needs right answers. Name the column of the metadata that has them: --gold"
        )
    return None


def _suggestion(ctx: Context, name: str) -> str:
    known = known_targets(ctx.settings)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}Known: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}"


def _check_prices(ctx: Context, target: Target) -> None:
    llm = target.intents.llm if target.intents else None
    asked = ctx.settings.lines(llm) if llm else ()
    for name in (*target.candidates, *target.too_long, *target.refused, *asked):
        if ctx.deployments[name].price is None:
            raise ConfigError(
                f"A budget needs known prices, and nobody knows the price of {name!r}. Give "
                f"deployments.{configured_name(name)}.price: "
                "{input_per_mtok: …, output_per_mtok: …} in batchyard.yaml, or submit without a "
                "budget"
            )


def _error_json(problem: LineProblem) -> bytes:
    field_ = f"{problem.field}: " if problem.field else ""
    message = f"{field_}{problem.problem}. {problem.fix}"
    return msgspec.json.encode({"code": problem.code, "message": message, "line": problem.line})
