"""What a request asks of the yard itself, beside the body that is sent."""

import msgspec


class Wishes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """`fallbacks` are names of routes, deployments or models that come after the request's own
    candidates; `timeout` is in seconds for each of its calls, None is the provider's. `intent` is
    what a person has said that it is: nobody has to find that out."""

    fallbacks: tuple[str, ...] = ()
    timeout: float | None = None
    intent: str | None = None


NO_WISHES = Wishes()
_decode = msgspec.json.Decoder(Wishes).decode
_encode = msgspec.json.Encoder().encode


def read_wishes(stored: str | None) -> Wishes:
    """As they stand with the request."""
    return _decode(stored) if stored else NO_WISHES


def write_wishes(wishes: Wishes) -> bytes:
    """As they are stored; empty where there are none."""
    return b"" if wishes == NO_WISHES else _encode(wishes)
