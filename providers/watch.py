"""Whether something answers at a server's address: a GET that carries no key and costs nothing."""

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

from typing_extensions import override

from providers.redact import ID_CAP, clipped

PATIENCE: Final = 5.0
_AGENT: Final = {"user-agent": "batchyard"}
_SERVER_ERROR: Final = 500


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer."""

    @override
    def redirect_request(self, *args: object) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_Stay)


def look(url: str) -> tuple[bool, str]:
    """Whether the server answers below 500 within five seconds (a 401 counts, too), and in words
    what it did. Blocks; never raises."""
    if urlsplit(url).scheme not in ("http", "https"):
        return False, "neither http nor https"
    request = urllib.request.Request(url, headers=_AGENT)  # noqa: S310
    try:
        with _OPENER.open(request, timeout=PATIENCE) as reply:
            return True, f"answers ({reply.status})"
    except urllib.error.HTTPError as error:
        with error:
            return error.code < _SERVER_ERROR, f"answers {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return False, clipped(str(error).strip() or type(error).__name__, ID_CAP)
