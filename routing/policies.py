"""Which of its candidates a chunk goes to now: the route's policy on what dispatch sees.

    ordered     the first of the list                                           waits for it
    cheapest    the lowest expected price, unknown ones last                    waits for it
    fastest     the lowest latency lately; those nobody knows are tried         takes the next
    weighted    shares of `weights` of all requests                             takes the next
    least_busy  the fewest calls, in flight and bound, for what it can carry    takes the next
    spread      the most room, among those that serve the first one's model     waits for them
    (routed)    the first of the list, which the router has put in order        waits for it

Only candidates that have not given up on the requests count, and of those the open ones. One
that is closed is passed over; one that opens again in a few seconds is waited for as one that
merely has no room. The right column says what follows where the best choice has no room, that
is, has as much bound as it will need for half a minute: where the order stands for money or
for a preference it is waited for, elsewhere the next one takes the work. The keys of one
deployment are one candidate to `ordered` and `cheapest`, which spread the work over them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.money import Price, to_usd
from core.plan import LISTS, USUAL, Plan
from core.router import ROUTED
from core.settings import configured_name

SOON: Final = 5.0
"""Seconds for which a closed deployment is waited for rather than passed over."""

TRIAL: Final = 200
"""Requests that a deployment gets to show how fast it is."""

_GOLDEN: Final = 0.6180339887498949
_SHOWN: Final = 5
_DEALS: Final = 100


@dataclass(slots=True)
class Line:
    """What is seen of a deployment now, and what of it is taken while chunks are bound.

    `closed` says why it takes no work, empty when it does, and `reopens` after how many
    seconds, None where not by itself. `room` are the requests that may still be bound to it, of
    `ahead` altogether, and `spare` those beyond it for jobs of which nothing is bound there;
    `load` those that are bound or in flight, of `carries` at once as far as that is declared;
    `rate` is in calls a second; `piece` is how many are bound together, `queue` for how many
    seconds it has enough, where it is `known` how fast it is. None is what nobody has seen yet.
    """

    name: str
    model: str
    price: Price | None = None
    closed: str = ""
    reopens: float | None = None
    room: int = 0
    ahead: int = 1
    load: int = 0
    carries: int | None = None
    rate: float = 0.0
    spare: int = 0
    piece: int = TRIAL
    queue: float = 0.0
    known: bool = False
    latency_ms: float | None = None
    output_tokens: float | None = None

    @property
    def away(self) -> bool:
        """Closed for longer than one waits."""
        return bool(self.closed) and (self.reopens is None or self.reopens > SOON)

    @property
    def share(self) -> float:
        """Its room as a share of what may be bound to it at once."""
        return self.room / self.ahead

    def free(self, *, newcomer: bool = False) -> bool:
        """Whether it takes one more chunk now."""
        return not self.closed and (self.room > 0 or (newcomer and self.spare > 0))

    def portion(self, requests: int) -> int:
        """How many of so many requests it takes at once. A chunk may go a little beyond its
        room, but not where it is most of what may be bound."""
        if 2 * requests <= self.ahead:
            return requests
        return min(requests, max(1, self.room if self.room > 0 else self.spare))

    def pieces(self, requests: int) -> list[int]:
        """How many of so many requests are bound together, each time."""
        rest = requests % self.piece
        return [self.piece] * (requests // self.piece) + ([rest] if rest else [])

    def take(self, requests: int) -> None:
        """So many requests are bound to it."""
        if self.room <= 0:
            self.spare -= requests
        self.room -= requests
        self.load += requests


@dataclass(frozen=True, slots=True)
class Ask:
    """A chunk that is to be bound: how many requests, their mean tokens in and the mean of
    their output limits; `number` tells chunks apart; `allowed` are the candidates (bits) of the
    list `among` that may have it, `new_to` those at which nothing of its job is bound."""

    number: int
    requests: int
    allowed: int
    tokens: float = 0.0
    output_limit: float = 0.0
    new_to: int = 0
    among: str = USUAL


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate (index) that a chunk goes to, and why: the policy, what it went by for each
    candidate in view, those that were closed, and the list `among` which it was chosen."""

    candidate: int
    policy: str
    saw: Mapping[str, str] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    among: str = USUAL


@dataclass(slots=True)
class _View:
    """The candidates in question, by index and in the order of their list, what is asked of them,
    and where on the circle of `weighted` the question stands. `own` says that the route's policy
    is about them."""

    plan: Plan
    ask: Ask
    lines: Mapping[int, Line]
    present: Mapping[int, Line]
    own: bool
    point: float

    def free(self, index: int) -> bool:
        """Whether the candidate takes the chunk now."""
        return self.lines[index].free(newcomer=bool(self.ask.new_to >> index & 1))


@dataclass(frozen=True, slots=True)
class _Policy:
    """`rank` orders the candidates that may have the chunk, the best first; `figure` tells what
    it went by. A `patient` one waits for the best; one that `shares` means requests, and has
    chunks dealt out."""

    rank: Callable[[_View], Sequence[int]]
    figure: Callable[[_View, int], str]
    patient: bool = False
    shares: bool = False


def choose(plan: Plan, ask: Ask, seen: Mapping[str, Line]) -> Choice | None:
    """The candidate that should have the chunk; None where it has to wait."""
    view = _look(plan, ask, seen)
    if view is None:
        return None
    taken, best = _pick(view)
    return None if taken is None else _told(view, taken, best)


def deal(
    plan: Plan, ask: Ask, seen: Mapping[str, Line], *, few: bool = False
) -> list[tuple[Choice, int]]:
    """The candidates that should have the chunk, each with how many of its requests, which are
    taken from its room; fewer than all where the rest has to wait.

    A chunk is cut where it is too large for a candidate's room. Where its job has `few`
    requests, the policies that share deal it out request by request: chunk by chunk, a small
    job would go to a single candidate.
    """
    view = _look(plan, ask, seen)
    if view is None:
        return []
    shares = few and POLICIES[_policy(view)].shares
    unit = max(1, ask.requests // _DEALS) if shares else ask.requests
    choices: dict[int, Choice] = {}
    dealt: dict[int, int] = {}
    left, start = ask.requests, view.point
    while left > 0:
        view.point = (start + (ask.requests - left) / ask.requests) % 1.0
        taken, best = _pick(view)
        if taken is None:
            break
        if taken not in choices:
            choices[taken] = _told(view, taken, best)
        count = view.lines[taken].portion(min(unit, left))
        view.lines[taken].take(count)
        dealt[taken] = dealt.get(taken, 0) + count
        left -= count
    return [(choices[index], count) for index, count in dealt.items()]


def _look(plan: Plan, ask: Ask, seen: Mapping[str, Line]) -> _View | None:
    """The candidates in question; None where there are none."""
    present = {
        index: seen[plan.candidates[index]]
        for index in plan.listed(ask.among)
        if ask.allowed >> index & 1 and plan.candidates[index] in seen
    }
    open_ = {i: line for i, line in present.items() if not line.away}
    usual = ask.among == USUAL
    own = {i: line for i, line in open_.items() if usual and i < plan.own}
    if not open_:
        return None
    return _View(plan, ask, own or open_, present, bool(own), ask.number * _GOLDEN % 1.0)


def _policy(view: _View) -> str:
    """What the policy does not choose among comes in its order."""
    return view.plan.choose if view.own else "ordered"


def _pick(view: _View) -> tuple[int | None, Sequence[int]]:
    """The candidate that takes the next request, if any, and all in their order."""
    policy = POLICIES[_policy(view)]
    best = policy.rank(view)
    takers = _alike(view, best) if policy.patient else best
    return next((index for index in takers if view.free(index)), None), best


def _told(view: _View, taken: int, best: Sequence[int]) -> Choice:
    name = _policy(view)
    shown = [taken, *(index for index in best if index != taken)][:_SHOWN]
    return Choice(
        taken,
        name,
        {view.lines[index].name: POLICIES[name].figure(view, index) for index in shown},
        {line.name: _closed(line) for line in view.present.values() if line.closed},
        view.ask.among,
    )


def _alike(view: _View, best: Sequence[int]) -> Sequence[int]:
    """The best candidate with the other keys of its deployment, the one with the most room
    first: to the configuration they are one."""
    deployment = configured_name(view.lines[best[0]].name)
    same = [index for index in best if configured_name(view.lines[index].name) == deployment]
    return sorted(same, key=lambda i: (-view.lines[i].share, i))


def reach(plan: Plan, home: str, seen: Mapping[str, Line]) -> list[str]:
    """The deployments that may take chunks of the plan that stand at `home`, as far as that can
    be told without looking at them: enough to know how many are worth reading."""
    first = plan.candidates.index(home) if home in plan.candidates else 0
    near = [one for among in LISTS for one in _reach_of(plan, among, first, seen)]
    return [name for name in dict.fromkeys(near) if seen[name].free(newcomer=True)]


def _reach_of(plan: Plan, among: str, first: int, seen: Mapping[str, Line]) -> list[str]:
    """Of one list of the plan; none where it does not have the candidate `first`."""
    order = plan.listed(among)
    if first not in order:
        return []
    listed = [index for index in order if plan.candidates[index] in seen]
    # Those before its home have given up on a chunk, or it would not stand here.
    near = [index for index in listed if order.index(index) >= order.index(first)]
    present = [i for i in near if not seen[plan.candidates[i]].away] or [
        i for i in listed if not seen[plan.candidates[i]].away
    ]
    own = [index for index in present if among == USUAL and index < plan.own]
    if own and plan.choose not in ORDERED:
        return [plan.candidates[index] for index in own]
    best = [configured_name(plan.candidates[index]) for index in present[:1]]
    return [plan.candidates[i] for i in present if configured_name(plan.candidates[i]) in best]


def _closed(line: Line) -> str:
    back = "" if line.reopens is None else f", back in {line.reopens:.0f} s"
    return f"{line.closed}{back}"


def _in_order(view: _View) -> list[int]:
    return list(view.lines)


def _place(view: _View, index: int) -> str:
    return f"{view.plan.listed(view.ask.among).index(index) + 1}. of the list"


def _by_price(view: _View) -> list[int]:
    return sorted(view.lines, key=lambda i: (view.lines[i].price is None, _price(view, i), i))


def _price(view: _View, index: int) -> int:
    """The expected price of one of the requests in nano-dollars, 0 where nobody knows it."""
    price = view.lines[index].price
    if price is None:
        return 0
    return price.cost(round(view.ask.tokens), round(_output(view, index)))


def _output(view: _View, index: int) -> float:
    """The output tokens of one of the requests: as many as its answers had lately, else as the
    others' had, else as they may have at most."""
    own = view.lines[index].output_tokens
    known = [line.output_tokens for line in view.lines.values() if line.output_tokens is not None]
    if own is None and known:
        own = sum(known) / len(known)
    limit = view.ask.output_limit
    return limit if own is None else min(own, limit)


def _price_told(view: _View, index: int) -> str:
    if view.lines[index].price is None:
        return "price unknown"
    return f"${to_usd(_price(view, index)):.3g} a request"


def _by_latency(view: _View) -> list[int]:
    def key(index: int) -> tuple[int, float, int]:
        line = view.lines[index]
        if line.latency_ms is not None:
            return (1, line.latency_ms, index)
        return (0 if line.load < TRIAL else 2, 0.0, index)

    return sorted(view.lines, key=key)


def _latency(view: _View, index: int) -> str:
    latency = view.lines[index].latency_ms
    return "on trial" if latency is None else f"{latency:.0f} ms"


def _by_weight(view: _View) -> list[int]:
    """Shares in the long run, whoever dispatches: the numbers of the chunks, turned about a
    circle by the golden ratio, are even over any part of it."""
    able = [i for i in view.lines if view.free(i) and _weight(view, i) > 0]
    rest = sorted((i for i in view.lines if i not in able), key=lambda i: -_weight(view, i))
    if not able:
        return rest
    point = view.point * sum(_weight(view, i) for i in able)
    for position, index in enumerate(able):
        point -= _weight(view, index)
        if point < 0:
            return [index, *able[:position], *able[position + 1 :], *rest]
    return [*able[::-1], *rest]


def _weight(view: _View, index: int) -> float:
    return view.plan.weights[index] if index < len(view.plan.weights) else 0.0


def _weight_told(view: _View, index: int) -> str:
    return f"weight {_weight(view, index):g}"


def _carried(view: _View) -> bool:
    """Whether calls can be seen beside what each candidate can carry at once; where one of them
    declares nothing, calls are compared as they are."""
    return all(line.carries is not None for line in view.lines.values())


def _by_load(view: _View) -> list[int]:
    by_carried = _carried(view)

    def busy(index: int) -> tuple[float, int]:
        line = view.lines[index]
        return line.load / (line.carries or 1 if by_carried else 1), index

    return sorted(view.lines, key=busy)


def _load(view: _View, index: int) -> str:
    line = view.lines[index]
    return f"{line.load} for {line.carries} at once" if _carried(view) else f"{line.load} calls"


def _by_room(view: _View) -> list[int]:
    model = next(iter(view.lines.values())).model
    same = [index for index, line in view.lines.items() if line.model == model]
    return sorted(same, key=lambda i: (-view.lines[i].share, i))


def _room(view: _View, index: int) -> str:
    line = view.lines[index]
    return f"room for {max(0, line.room)} of {line.ahead}"


ORDERED: Final = ("ordered", *ROUTED)
"""Where the list's order is the choice."""

POLICIES: Final = {
    **dict.fromkeys(ORDERED, _Policy(_in_order, _place, patient=True)),
    "cheapest": _Policy(_by_price, _price_told, patient=True),
    "fastest": _Policy(_by_latency, _latency),
    "weighted": _Policy(_by_weight, _weight_told, shares=True),
    "least_busy": _Policy(_by_load, _load, shares=True),
    "spread": _Policy(_by_room, _room, shares=True),
}
