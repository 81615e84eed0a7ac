"""`batchyard completion`."""

from typing import Annotated, Literal

import typer
from typer._completion_shared import get_completion_script

from batchyard.cli.output import JsonFlag, put_json, put_line

PROGRAM = "batchyard"
VARIABLE = "_BATCHYARD_COMPLETE"


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Your shell.")],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Print what makes a shell complete commands, job ids, routes and projects with the tab key.
    Put the line for your shell where it starts, or let `batchyard --install-completion` do it.

    \b
    Examples:
      eval "$(batchyard completion bash)"          in ~/.bashrc
      eval "$(batchyard completion zsh)"           in ~/.zshrc, after compinit
      batchyard completion fish | source           in ~/.config/fish/config.fish
    """
    script = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell)
    if as_json:
        put_json({"shell": shell, "script": script})
    else:
        put_line(script)
