"""Where Postgres is, as people write it."""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from core.errors import ConfigError

SCHEME = "postgresql://"
# The last is SQLAlchemy's, for this very driver.
SCHEMES = (SCHEME, "postgres://", "postgresql+psycopg://")


def postgres_url(url: str) -> str:
    """The address as psycopg takes it. Raises ConfigError, without the address in it: it may
    hold a password."""
    scheme = next((one for one in SCHEMES if url.startswith(one)), None)
    if scheme is None:
        found = url.partition(":")[0] if "://" in url else "something else"
        raise ConfigError(
            f"BATCHYARD_DATABASE_URL is no address of a Postgres: it must start with {SCHEME}, "
            f"not {found}. Write postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    plain = SCHEME + url.removeprefix(scheme)
    try:
        conninfo_to_dict(plain)
    except ProgrammingError as error:
        raise ConfigError(
            "BATCHYARD_DATABASE_URL cannot be read. "
            "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %-signs for what is "
            "special in a password"
        ) from error
    return plain
