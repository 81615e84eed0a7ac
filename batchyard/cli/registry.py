"""Every command: its section in the help, the function behind it, and one line about it.

`batchyard.cli.<module>` is imported when its command is called, so that a quick command does
not wait for the imports of a slow one.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command lives: a function, or a `typer.Typer` of commands, of a module."""

    section: str
    module: str
    name: str
    summary: str


YARD = "The yard"
JOBS = "Jobs"
CHECK = "Looking closer"
ROUTER = "The router"
TOOLS = "Tools"

COMMANDS: dict[str, Entry] = {
    "up": Entry(YARD, "up", "up", "Start the yard: Postgres, broker, workers, Flower."),
    "down": Entry(YARD, "down", "down", "Stop the yard; its data stay."),
    "ps": Entry(YARD, "ps", "ps", "Services, queues, deployments and workers, now."),
    "deployments": Entry(
        YARD, "deployments", "app", "How deployments stand; pause, resume, drain."
    ),
    "submit": Entry(JOBS, "submit", "submit", "Hand in a file of prompts."),
    "jobs": Entry(JOBS, "jobs", "jobs", "List jobs."),
    "job": Entry(JOBS, "jobs", "job", "Show one job."),
    "watch": Entry(JOBS, "watch", "watch", "Watch a job until it ends."),
    "results": Entry(JOBS, "results", "results", "Fetch a job's results."),
    "clarify": Entry(JOBS, "clarify", "clarify", "Answer what a job's prompts left open."),
    "errors": Entry(JOBS, "errors", "errors", "What went wrong in a job."),
    "scores": Entry(JOBS, "scores", "app", "What a job's answers are worth; import scores."),
    "pause": Entry(JOBS, "ends", "pause", "Send nothing more of a job for now."),
    "resume": Entry(JOBS, "ends", "resume", "Go on with a paused job."),
    "cancel": Entry(JOBS, "ends", "cancel", "Stop a job; its results stay."),
    "delete": Entry(JOBS, "ends", "delete", "Remove an ended job and its results."),
    "projects": Entry(JOBS, "projects", "projects", "Who shares the yard, and what each spent."),
    "explain": Entry(CHECK, "explain", "explain", "The story of a job or of one request."),
    "audit": Entry(CHECK, "audit", "audit", "Recompute every count and every cent."),
    "logs": Entry(CHECK, "logs", "logs", "What the services have written down."),
    "doctor": Entry(CHECK, "doctor", "doctor", "Check that all is there that a job needs."),
    "router": Entry(
        ROUTER, "router.group", "app", "Train, measure and keep what chooses among candidates."
    ),
    "demo": Entry(TOOLS, "demo", "demo", "Label real messages, live, in a yard of its own."),
    "completion": Entry(TOOLS, "completion", "completion", "Tab completion for your shell."),
    "config": Entry(TOOLS, "config", "app", "Show or check the configuration."),
    "env": Entry(TOOLS, "env", "env", "What a worker of your own needs to know."),
    "flower": Entry(TOOLS, "flower", "flower", "Where Flower is, and its password."),
    "migrate": Entry(TOOLS, "migrate", "migrate", "Bring the database to a revision."),
    "simulator": Entry(TOOLS, "simulator", "simulator", "Run a simulated provider."),
}

# The commands of `batchyard router`, a file each.
ROUTER_COMMANDS: dict[str, Entry] = {
    "train": Entry(ROUTER, "router.train", "train", "Train a model on judged prompts."),
    "eval": Entry(ROUTER, "router.eval", "evaluate", "Measure a model on judged prompts."),
    "learn": Entry(
        ROUTER, "router.learn", "learn", "Train on scored jobs: `train --from results`."
    ),
    "report": Entry(
        ROUTER, "router.report", "report", "What routing saved, or would; with a picture."
    ),
    "allocate": Entry(
        ROUTER, "router.allocate", "allocate", "Assign a whole file within a budget."
    ),
    "list": Entry(ROUTER, "router.list", "list_", "The project's models and their versions."),
    "show": Entry(ROUTER, "router.show", "show", "What a model was trained on, and how well."),
    "promote": Entry(ROUTER, "router.promote", "promote", "Let routes go by a version."),
}
