"""What a job's routing saved, for scripts and for people."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.text import Text

from batchyard.cli.show import plain
from core.ids import job_name
from core.lazy import lazy
from core.money import usd_text

if TYPE_CHECKING:
    from routing import curve
    from routing.measuring import savings
    from tasks.router import reports
else:
    curve = lazy("routing.curve")
    savings = lazy("routing.measuring.savings")
    reports = lazy("tasks.router.reports")

BASES = {
    "pilot": "measured: a pilot asked every candidate",
    "explored": "measured: explored requests, by their propensities",
    "predicted": "PREDICTED by the router's model for whom was not asked; the intervals do not "
    "hold its own error",
}


def report_json(told: "reports.JobReport") -> dict[str, Any]:
    """All of a report; US dollars are sums over the answered requests, but for `usd_per_1k`."""
    saved = told.saved
    return {
        "id": job_name(told.view.id),
        "answered": told.answered * told.every if told.every > 1 else told.answered,
        "sampled": told.answered if told.every > 1 else None,
        "scored": told.scored,
        "scorer": told.scorer,
        "spend_usd": usd_text(told.view.cost_nusd),
        "pilot_usd": usd_text(told.pilot_nusd) if told.pilot_nusd else None,
        "candidates": [_part_json(told, name) for name in told.names],
        "calibration": [
            {
                "answers": one.count,
                "predicted": one.predicted,
                **span_json("measured", one.measured),
            }
            for one in told.calibration
        ],
        "savings": None if saved is None else savings_json(told, saved),
    }


def _part_json(told: "reports.JobReport", name: str) -> dict[str, Any]:
    part = next(one for one in told.parts if one.name == name)
    found: dict[str, Any] = {
        "candidate": name,
        "requests": part.requests * told.every,
        "share": round(part.share, 6),
        "usd_per_1k": None if part.usd is None else 1000 * part.usd,
        "score": part.score,
        "always": None,
    }
    if told.saved is not None:
        quality, usd = told.saved.always[told.names.index(name)]
        found["always"] = span_json("quality", quality) | span_json("usd_per_1k", usd, 1000)
    return found


def savings_json(told: "reports.JobReport", saved: "savings.Savings") -> dict[str, Any]:
    """Against the best and the cheapest candidate, and the mix of two; null where there is none."""
    whole = saved.rows * told.every
    return {
        "basis": saved.basis,
        "quality_is": "measured" if saved.measured else "predicted",
        "requests": saved.rows,
        "compared_with": saved.compared,
        "best": told.names[saved.best],
        "cheapest": told.names[saved.cheapest],
        **span_json("quality", saved.quality),
        **span_json("spend_usd", saved.usd, whole),
        **span_json("quality_gap", saved.gap),
        **span_json("saved_usd", saved.saved, whole),
        **span_json("saved_share", saved.saved_share),
        **span_json("cheapest_gap", saved.cheap_gap),
        **span_json("mix_quality", saved.mix),
        **span_json("mix_gap", saved.mix_gap),
        **span_json("mix_usd", saved.mix_usd, whole),
        **span_json("mix_saved_usd", saved.mix_saved, whole),
    }


def span_json(name: str, one: "curve.Measured", factor: float = 1.0) -> dict[str, Any]:
    """`{name: [value, low, high]}`, null for what is not a number."""
    ends = [one.value * factor, one.low * factor, one.high * factor]
    return {name: None if math.isnan(one.value) else ends}


def saved_lines(told: "reports.JobReport") -> Iterator[Text]:
    """Three lines for `explain`: what was saved, at which quality, and where there is more."""
    saved = told.saved
    if saved is None:
        return
    best, whole = told.names[saved.best], saved.rows * told.every
    yield Text.assemble(
        ("saved: ", "cyan"),
        f"{money(saved.saved.value * whole)}, {saved.saved_share.value:.0%} "
        f"({saved.saved_share.low:.0%} to {saved.saved_share.high:.0%}) of what always {best} "
        f"costs; quality {span(saved.quality)}, {signed(saved.gap)} to it",
    )
    yield Text(f"       {_beside_mix(saved)}")
    yield Text(f"       {BASES[saved.basis]}; more: batchyard router report {told.view.id}")


def _beside_mix(saved: "savings.Savings") -> str:
    return (
        f"the best mix of two at the same spend has quality {saved.mix.value:.3f}: the job is "
        f"{signed(saved.mix_gap)} above it"
    )


def report_lines(told: "reports.JobReport") -> Iterator[Text]:
    """The report but for its table of candidates."""
    view, saved = told.view, told.saved
    sampled = f", of one in {told.every} requests" if told.every > 1 else ""
    pilot = f" and ${usd_text(told.pilot_nusd)} for its pilot" if told.pilot_nusd else ""
    yield Text.assemble(
        (job_name(view.id), "bold"),
        f"  {plain(told.answered)} answers{sampled}, ${usd_text(view.cost_nusd)}{pilot}; "
        + (f"{plain(told.scored)} scored by {told.scorer}" if told.scorer else "no scores"),
    )
    if saved is None:
        yield Text(
            "Nothing is known of what others would have given: a route that goes by a router "
            "(`router:`) predicts it, a pilot or `explore` measures it."
        )
        return
    kind = "quality" if saved.measured else "quality (predicted: there are no scores)"
    yield Text(f"{kind} {span(saved.quality)}, ${1000 * saved.usd.value:.4g} for 1,000")
    if told.calibration:
        yield Text(_foreseen(told))
    yield Text(f"what others would have given is {BASES[saved.basis]}\n")
    yield from _against(told, saved)


def _foreseen(told: "reports.JobReport") -> str:
    """How the mean score compares with what was foreseen of the same answers."""
    count = sum(one.count for one in told.calibration)
    predicted = sum(one.count * one.predicted for one in told.calibration) / count
    scored = sum(one.count * one.measured.value for one in told.calibration) / count
    width = sum(
        (one.count / count * (one.measured.high - one.measured.low)) ** 2
        for one in told.calibration
    )
    apart = scored - predicted
    verdict = (
        "as foreseen" if abs(apart) <= math.sqrt(width) / 2 else "not as foreseen: train again"
    )
    return f"foreseen of the scored answers: {predicted:.3f}, measured {scored:.3f}: {verdict}"


def _against(told: "reports.JobReport", saved: "savings.Savings") -> Iterator[Text]:
    whole = saved.rows * told.every
    share = saved.saved_share
    yield Text(
        f"against always {told.names[saved.best]} (the best): {signed(saved.gap)} quality, "
        f"{money(saved.saved.value * whole)} saved, {share.value:.0%} "
        f"({share.low:.0%} to {share.high:.0%})"
    )
    if saved.cheapest != saved.best:
        usd = saved.always[saved.cheapest][1].value
        more = (saved.usd.value - usd) * whole
        yield Text(
            f"against always {told.names[saved.cheapest]} (the cheapest): "
            f"{signed(saved.cheap_gap)} quality for {money(more)} more"
        )
    yield Text(f"against the mix of two at the same spend: {signed(saved.mix_gap)} quality")
    if math.isnan(saved.mix_usd.value):
        yield Text("against the mix of two of the same quality: no mix is as good")
        return
    ends = f"{money(saved.mix_saved.low * whole)} to {money(saved.mix_saved.high * whole)}"
    yield Text(
        f"against the mix of two of the same quality: {money(saved.mix_saved.value * whole)} saved "
        f"({ends})"
    )


def span(one: "curve.Measured") -> str:
    """`0.871 (0.850 to 0.892)`."""
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def signed(one: "curve.Measured") -> str:
    """`-0.008 (-0.020 to +0.004)`."""
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def money(usd: float) -> str:
    """`$0.0493`; `-$2` for less than nothing."""
    return f"{'-' if usd < 0 else ''}${abs(usd):.4g}"
