"""`batchyard flower`."""

from batchyard.cli.output import JsonFlag, put_json
from batchyard.cli.places import relative
from batchyard.cli.show import out
from batchyard.embedded.home import Home
from batchyard.services import FLOWER_USER
from core.errors import ConflictError, ServiceError


def flower(*, as_json: JsonFlag = False) -> None:
    """Say where Flower is. Its password is generated and kept in the state folder, in a file
    that only you can read; it is not printed, so that it doesn't end up in logs.

    \b
    Examples:
      batchyard flower
      batchyard flower --json
    """
    home = Home.from_env()
    running = home.running()
    if running is None:
        raise ServiceError(f"no yard runs in {home.path}. Start it with `batchyard up -d`")
    if not running.flower_url:
        raise ConflictError("this yard runs without Flower. Start it without --no-flower")
    secret = home.path / "secrets.json"
    told = {"url": running.flower_url, "user": FLOWER_USER, "password_file": str(secret)}
    if as_json:
        put_json(told)
        return
    console = out()
    console.print(f"URL       {running.flower_url}")
    console.print(f"user      {FLOWER_USER}")
    console.print(f'password  "flower" in {relative(secret)}')
