"""How a route chooses by what a trained model predicts."""

from typing import Any, Final

from pydantic import Field, model_validator

from core.strict import Name, Problem, SettingsError, Strict

ROUTED: Final = ("fixed", "threshold", "cascade", "optimize")
"""Ways to choose that go by a router model; a cascade may do without."""

AIMED: Final = ("threshold", "optimize")
"""Those that weigh quality against cost, and so may be told what to aim at; a learned cascade is
one more."""


class RouterSettings(Strict):
    """A choice model by name, and what is aimed at: the mean `quality` of a job (0 to 1) or
    its mean `usd_per_1k` requests; without either, the quality of the best single candidate.
    The share `explore` of the requests goes to a candidate drawn by lot, so that later trainings
    see all of them. A name alone is short for `{model: name}`."""

    model: Name
    quality: float | None = Field(default=None, gt=0, le=1)
    usd_per_1k: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    explore: float = Field(default=0.0, ge=0, le=0.5)

    @model_validator(mode="before")
    @classmethod
    def _is_short_for_a_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @property
    def aims(self) -> bool:
        """Whether it is told what to aim at."""
        return self.quality is not None or self.usd_per_1k is not None

    @model_validator(mode="after")
    def _aims_at_one_thing(self) -> "RouterSettings":
        if self.quality is not None and self.usd_per_1k is not None:
            fix = "Give the one that is to be kept; the other follows from it"
            raise SettingsError(Problem(("usd_per_1k",), "stands beside quality", fix))
        return self


def check_router(choose: str, router: RouterSettings | None, *, needed: bool = True) -> None:
    """Raises SettingsError where a route's way to choose and its router do not fit. Not `needed`
    is one by a cascade that decides without a model: it may order the candidates, and aims at
    nothing."""
    if choose in ROUTED and router is None and needed:
        fix = "Name a model of `batchyard router list`: router: NAME"
        raise SettingsError(Problem(("router",), f"is missing, and {choose} goes by it", fix))
    if choose not in ROUTED and router is not None:
        fix = f"Write choose: {', '.join(ROUTED[:-1])} or {ROUTED[-1]}, or leave the router out"
        raise SettingsError(Problem(("router",), f"counts for nothing with {choose}", fix))
    if router is None or choose in AIMED or (choose == "cascade" and needed):
        return
    for name in ("quality", "usd_per_1k"):
        if getattr(router, name) is not None:
            fix = (
                f"Write choose: {' or '.join(AIMED)}, or a cascade that is learned, or leave it out"
            )
            raise SettingsError(Problem(("router", name), f"is nothing that {choose} aims at", fix))
