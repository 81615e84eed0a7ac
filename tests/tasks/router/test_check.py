"""What a submit says of a route whose router cannot do its work."""

from dataclasses import replace
from typing import Any

import pytest

from core.errors import ConfigError
from core.settings import Settings
from db.router_models import promote, put_model
from tasks.context import Context
from tasks.submit import SubmitOptions, submit
from tests.conftest import SETTINGS

ROUTE = {"candidates": ["small", "free"], "choose": "threshold", "router": "tickets"}
ROUTED = Settings.model_validate({**SETTINGS.model_dump(), "routes": {"smart": ROUTE}})


def hand_in(inn: Any, lines: list[Any], **options: Any) -> int:
    async def handing(ctx: Context) -> int:
        return await submit(replace(ctx, settings=ROUTED), lines, SubmitOptions(**options))

    return int(inn.run(handing))


def promoted(inn: Any, info: dict[str, Any]) -> None:
    version = inn.ask(put_model, "tickets", "choice", b"", info)
    inn.ask(promote, "tickets", version)


@pytest.mark.parametrize(
    ("lines", "options"), [(["a"], {"route": "smart"}), ([{"prompt": "a", "model": "smart"}], {})]
)
def test_a_router_without_a_promoted_model_is_told_at_submit(
    inn: Any, lines: list[Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"no promoted model.*router train.*--pilot"):
        hand_in(inn, lines, **options)
    promoted(inn, {"candidates": ["small"]})
    with pytest.raises(ConfigError, match="does not know free, only small"):
        hand_in(inn, lines, **options)
    promoted(inn, {"intents": ["a"]})
    with pytest.raises(ConfigError, match="is a model of intents"):
        hand_in(inn, lines, **options)
    assert inn.rows("select id from jobs") == []
    promoted(inn, {"candidates": ["free", "small", "large"]})
    # Nothing that was refused has cost a number.
    assert hand_in(inn, lines, **options) == 1


def test_who_does_not_use_the_route_needs_no_model(inn: Any) -> None:
    assert hand_in(inn, [{"prompt": "a", "model": "small"}]) == 1
