"""Plans, and why dispatch chose what it chose, in words."""

import json
from collections.abc import Mapping
from typing import Any

from batchyard.cli.show import plain
from core.plan import REFUSED, TOO_LONG
from db.choices import Chosen, Why

_LISTS = {TOO_LONG: "too long", REFUSED: "refused"}


def lists(body: Mapping[str, Any]) -> str:
    """Who is to answer by a plan, and in which order."""
    candidates = list(body.get("candidates", ()))
    usual, wishes = body.get("usual"), body.get("fallbacks", 0)
    own = len(candidates) if usual is None else usual
    first, wished = candidates[: own - wishes], candidates[own - wishes : own]
    choose = body.get("choose", "ordered")
    named = [
        f"{name} ({share:g})" for name, share in zip(first, body.get("weights") or (), strict=False)
    ]
    cascade = body.get("cascade")
    if cascade and len(first) > 1:
        told = " then ".join((f"cascade by {cascade['accept']}: {', '.join(first)}", *wished))
    elif choose == "ordered" or len(first) < 2:
        told = " then ".join((*first, *wished)) or "nobody"
    else:
        told = " then ".join((f"{choose} of {', '.join(named or first)}", *wished))
    for name, word in _LISTS.items():
        if body.get(name):
            told += f"; what is {word}: {' then '.join(body[name])}"
    return told


def because(why: Why) -> str:
    """Why a deployment was chosen for a call."""
    others = ", ".join(f"{name}: {figure}" for name, figure in why.saw.items())
    closed = "; ".join(f"{name} was {reason}" for name, reason in why.closed.items())
    return f"{_chosen_by(why)} ({others})" + (f"; {closed}" if closed else "")


def _chosen_by(one: Why | Chosen) -> str:
    """The policy, and which list of the plan it was about, where that is not the usual one."""
    return f"{one.by}, for what is {_LISTS[one.among]}" if one.among else one.by


def stepped(step: str | None) -> str:
    """Which step of a cascade answered, and why that was enough; empty without a cascade."""
    if step is None:
        return ""
    told = json.loads(step)
    only = "" if told["accepted"] else "for want of a better one, "
    return f", step {told['step']} of {told['steps']} of its cascade: {only}{told['why']}"


def uncalled_for(error: str | None) -> str:
    """Why a request ended without a call: what its error says, and what was asked back."""
    if error is None:
        return ""
    told = json.loads(error)
    message, question = told.get("message", ""), told.get("question", "")
    lines = [message, "" if question in message else question]
    for option in told.get("options", ()):
        sure = option.get("probability")
        lines.append(option["intent"] + ("" if sure is None else f" ({sure:.2f})"))
    return "".join(f"\n        {line}" for line in lines if line)


def chosen(one: Chosen) -> str:
    """How often a deployment was chosen, and what for."""
    if not one.by:
        return f"{plain(one.calls)} calls to {one.deployment} again, where the one before went"
    passed = "".join(
        f"; {plain(count)} while {name} was {one.reasons[name]}"
        for name, count in one.passed.items()
    )
    return f"{plain(one.calls)} calls to {one.deployment}, chosen as {_chosen_by(one)}{passed}"
