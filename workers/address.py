"""Where the broker and the limiter's server are, as people write it."""

from urllib.parse import urlsplit

from core.errors import ConfigError

REDIS_SCHEMES = ("redis", "rediss")
BROKER_SCHEMES = (*REDIS_SCHEMES, "amqp", "amqps")
LIMITER_SCHEMES = (*REDIS_SCHEMES, "unix")


def broker_address(url: str) -> str:
    """The broker's URL, if it is one. Raises ConfigError, without the URL in it: it may hold a
    password."""
    return _checked(url, "BATCHYARD_BROKER_URL", BROKER_SCHEMES)


def limiter_address(url: str) -> str:
    """The limiter's URL, if it is one. Raises ConfigError as above."""
    return _checked(url, "BATCHYARD_LIMITER_URL", LIMITER_SCHEMES)


def keeps_limits(url: str) -> bool:
    """Whether the limiter can use this server."""
    return url.partition("://")[0] in LIMITER_SCHEMES


def place_of(url: str) -> str:
    """host:port of a URL, for messages."""
    where = urlsplit(url)
    host = where.hostname or where.path
    return f"{host}:{where.port}" if where.port else host


def _checked(url: str, variable: str, schemes: tuple[str, ...]) -> str:
    scheme, sign, _ = url.partition("://")
    if not sign or scheme not in schemes:
        known = ", ".join(f"{one}://" for one in schemes)
        found = f"{scheme}://" if sign else "something else"
        raise ConfigError(f"{variable} must start with one of {known} and not with {found}")
    try:
        place_of(url)
    except ValueError as error:
        raise ConfigError(
            f"{variable} cannot be read ({error}). Write {scheme}://:PASSWORD@HOST:PORT/0"
        ) from error
    return url
