"""What is said where Postgres does not answer in the middle of something, or has no space."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from psycopg import OperationalError
from psycopg.errors import DiskFull

from batchyard.embedded.home import Home
from batchyard.environment import how_to_postgres
from core.errors import ServiceError


@contextmanager
def answering(home: Home, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Raises ServiceError with what to do, where the block meets a Postgres that is not there,
    goes away, or cannot write."""
    try:
        yield
    except DiskFull as error:
        outside = environ.get("BATCHYARD_DATABASE_URL")
        remedy = "Free some on its server" if outside else how_to_postgres(home, environ)
        raise ServiceError(f"Postgres has no space to write. {remedy}") from error
    except OperationalError as error:
        remedy = how_to_postgres(home, environ)
        raise ServiceError(f"Postgres does not answer. {remedy}") from error
