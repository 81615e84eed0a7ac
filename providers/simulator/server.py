"""The simulator's server: one or several simulated providers in one process.

    POST /<provider>/v1/chat/completions    a call
    GET  /<provider>/v1/models              the models it names
    GET  /<provider>/stats[?ids=1&offset=0&limit=1000]
    POST /<provider>/config                 a JSON merge patch (RFC 7386) of its profile
    POST /<provider>/reset                  new stats, faults clock from zero
    GET  /stats, POST /reset                the same over all providers
    GET  /metrics                           all providers, for Prometheus

The provider named "", or the only one, is also served without its prefix.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from core.errors import ConfigError, ServiceError
from providers.simulator.exchange import BadAskError, Problem, Wire
from providers.simulator.http import Connection, Exchange, error_body
from providers.simulator.metrics import CONTENT_TYPE, new_registry, render
from providers.simulator.profile import ANY_MODEL, Profile, load_profile
from providers.simulator.provider import Ending, OpenCalls, Outcome, Provider
from providers.simulator.stats import Stats
from providers.simulator.wire_openai import WIRE as OPENAI

WIRES = (OPENAI,)
BACKLOG = 4096
# Fixed, so that the same profile gives the same bytes.
MODELS_CREATED = 1_700_000_000

Handler = Callable[[Exchange], None]


class SimulatorServer:
    """A running simulator. Make one with `serve`; end it with `await close()`."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._loop = asyncio.get_running_loop()
        self._open_calls = OpenCalls()
        now = self._loop.time()
        self.providers = {
            name: Provider(name, profile, now, self._open_calls)
            for name, profile in profiles.items()
        }
        self._connections: set[Connection] = set()
        self._routes = self._new_routes()
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        """Binds; port 0 takes a free one. Raises ServiceError where the address is taken."""
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self._handle, self._connections), host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise ServiceError(
                f"the simulator cannot listen on {host}:{port} ({error}). "
                "Choose another port, or 0 for a free one"
            ) from error
        self.host, self.port = host, self._server.sockets[0].getsockname()[1]

    def url(self, provider: str = "") -> str:
        """The base URL of a provider, as an OpenAI client wants it (ends in /v1)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        prefix = f"/{provider}" if provider else ""
        return f"http://{host}:{self.port}{prefix}/v1"

    async def close(self) -> None:
        """Stops listening and ends every connection. Harmless twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.close()
        await self._server.wait_closed()
        self._server = None

    def _new_routes(self) -> dict[tuple[bytes, bytes], Handler]:
        routes: dict[tuple[bytes, bytes], Handler] = {}

        def route(method: str, path: str, handler: Handler) -> None:
            routes[method.encode(), path.encode()] = handler

        alone = len(self.providers) == 1
        for name, provider in self.providers.items():
            prefixes = {f"/{name}" if name else "", *([""] if alone else [])}
            for prefix in prefixes:
                for wire in WIRES:
                    route("POST", prefix + wire.call_path, self._call_handler(provider, wire))
                    route("GET", prefix + wire.models_path, self._models_handler(provider, wire))
                route("POST", f"{prefix}/config", self._config_handler(provider))
                route("GET", f"{prefix}/stats", self._stats_handler([provider]))
                route("POST", f"{prefix}/reset", self._reset_handler([provider]))
        everyone = list(self.providers.values())
        route("GET", "/stats", self._stats_handler(everyone))
        route("POST", "/reset", self._reset_handler(everyone))
        series = new_registry(everyone)
        route("GET", "/metrics", lambda it: it.reply(200, render(series), kind=CONTENT_TYPE))
        return routes

    def _handle(self, exchange: Exchange) -> None:
        handler = self._routes.get((exchange.method, exchange.target))
        if handler is None:
            path = exchange.target.partition(b"?")[0]
            handler = self._routes.get((exchange.method, path))
        if handler is not None:
            handler(exchange)
        elif any(known == path for _, known in self._routes):
            exchange.reply(405, error_body("This path does not take that method."))
        else:
            where = ", ".join(sorted({known.decode() for _, known in self._routes}))
            exchange.reply(404, error_body(f"Unknown path. Known here: {where}"))

    # Calls.

    def _call_handler(self, provider: Provider, wire: Wire) -> Handler:
        return lambda exchange: self._call(exchange, provider, wire)

    def _call(self, exchange: Exchange, provider: Provider, wire: Wire) -> None:
        sent = None
        if provider.profile.credential is not None:
            sent = wire.read_credential(exchange.headers)
        try:
            ask = wire.read_ask(exchange.headers, exchange.body)
        except BadAskError as error:
            # A provider looks at the key before it looks at the body.
            problem = provider.check_credential(sent) or error.problem
            self._tell(exchange, provider, wire, problem, "")
            return
        outcome = provider.decide(ask, sent, self._loop.time())
        if outcome.problem is not None:
            provider.finish(outcome)
            self._tell(exchange, provider, wire, outcome.problem, ask.model, outcome)
        elif outcome.ending is Ending.HANG:
            provider.stats.status["hang"] += 1
            provider.bill(outcome)
            exchange.on_lost = lambda: provider.abandon(outcome)
        elif outcome.delay_s > 0.0:
            self._loop.call_later(outcome.delay_s, self._end, exchange, provider, wire, outcome)
        else:
            self._end(exchange, provider, wire, outcome)

    def _tell(
        self,
        exchange: Exchange,
        provider: Provider,
        wire: Wire,
        problem: Problem,
        model: str,
        outcome: Outcome | None = None,
    ) -> None:
        status, body = wire.write_problem(problem, model)
        provider.stats.status[str(status)] += 1
        if outcome is None:
            outcome = Outcome(Ending.REPLY, provider.next_token())
        exchange.reply(status, body, wire.head(outcome.token, outcome.levels, problem))

    def _end(self, exchange: Exchange, provider: Provider, wire: Wire, outcome: Outcome) -> None:
        """A call's delay is over: bill it, and reply or break off."""
        provider.finish(outcome)
        stats = outcome.stats or provider.stats
        if outcome.ending is Ending.RESET or outcome.completion is None:
            stats.status["reset"] += 1
            exchange.reset()
            return
        stats.status["200"] += 1
        body = wire.write_completion(outcome.completion)
        if outcome.ending is Ending.MALFORMED:
            body = body[: len(body) // 2]
        exchange.reply(200, body, wire.head(outcome.token, outcome.levels, None))

    def _models_handler(self, provider: Provider, wire: Wire) -> Handler:
        def handle(exchange: Exchange) -> None:
            problem = provider.check_credential(wire.read_credential(exchange.headers))
            if problem is not None:
                status, body = wire.write_problem(problem, "")
                exchange.reply(status, body)
                return
            names = [name for name in provider.profile.models if name != ANY_MODEL]
            exchange.reply(200, wire.write_models(names, MODELS_CREATED))

        return handle

    # Stats and control.

    def _stats_handler(self, providers: list[Provider]) -> Handler:
        def handle(exchange: Exchange) -> None:
            query = parse_qs(exchange.target.partition(b"?")[2].decode("latin-1"))
            try:
                offset, limit = _paging(query)
            except ValueError as error:
                exchange.reply(400, error_body(str(error)))
                return
            report = self._report(providers)
            if query.get("ids", ["0"])[0] not in ("0", ""):
                report["ids"] = _sum(providers).page(offset, limit)
            exchange.reply(200, msgspec.json.encode(report))

        return handle

    def _report(self, providers: list[Provider]) -> dict[str, Any]:
        if len(providers) == 1 and providers[0].name == "":
            return _one_report(providers[0])
        if len(providers) == 1:
            return {"provider": providers[0].name, **_one_report(providers[0])}
        return {
            **_sum(providers).report(),
            "in_flight": self._open_calls.now,
            "peak_in_flight": self._open_calls.peak,
            "providers": {one.name: _one_report(one) for one in providers},
        }

    def _reset_handler(self, providers: list[Provider]) -> Handler:
        def handle(exchange: Exchange) -> None:
            for provider in providers:
                provider.reset(self._loop.time())
            if len(providers) == len(self.providers):
                self._open_calls.peak = self._open_calls.now
            exchange.reply(200, b'{"reset":true}')

        return handle

    def _config_handler(self, provider: Provider) -> Handler:
        def handle(exchange: Exchange) -> None:
            try:
                profile = _patched(provider.profile, exchange.body)
                provider.configure(profile, self._loop.time())
            except ConfigError as error:
                exchange.reply(400, error_body(str(error), "invalid_config"))
                return
            exchange.reply(200, msgspec.json.encode(_shown(profile)))

        return handle


def _one_report(provider: Provider) -> dict[str, Any]:
    return {
        **provider.stats.report(),
        "in_flight": provider.open_calls.now,
        "peak_in_flight": provider.open_calls.peak,
    }


def _sum(providers: list[Provider]) -> Stats:
    if len(providers) == 1:
        return providers[0].stats
    total = Stats()
    for provider in providers:
        total.add(provider.stats)
    return total


def _paging(query: Mapping[str, list[str]]) -> tuple[int, int | None]:
    """(offset, limit) of a query. Raises ValueError that names the bad one."""
    values: list[int | None] = []
    for name in ("offset", "limit"):
        text = query.get(name, [""])[0]
        if text and not text.isdecimal():
            raise ValueError(f"{name}={text} is not a whole number of zero or more")
        values.append(int(text) if text else None)
    return values[0] or 0, values[1]


def _patched(profile: Profile, body: bytes) -> Profile:
    """`profile` after a merge patch. Raises ConfigError naming the bad field."""
    try:
        patch = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: send a JSON object of profile fields ({error})") from error
    if "key_file" in patch:
        raise ConfigError(
            "key_file: files are read at start only; send the entries as `answers` instead"
        )
    merged = merge_patch(msgspec.to_builtins(profile), patch)
    return load_profile(merged)


def merge_patch(target: object, patch: object) -> Any:
    """RFC 7386: objects merge field by field, null removes a field, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def _shown(profile: Profile) -> dict[str, Any]:
    """A profile for eyes: answers counted and the credential hidden."""
    shown: dict[str, Any] = msgspec.to_builtins(profile)
    shown["answers"] = len(profile.answers)
    if profile.credential is not None:
        shown["credential"] = "***"
    return shown


async def serve(
    profiles: Mapping[str, Profile], host: str = "127.0.0.1", port: int = 0
) -> SimulatorServer:
    """Starts a simulator on the running event loop and returns once it accepts connections.

    Raises ConfigError for a profile or name that cannot be served and ServiceError where the
    address is taken.
    """
    if not profiles:
        raise ConfigError("the simulator has no provider to serve. Give it at least one profile")
    for name in profiles:
        if not all(part.isalnum() or part in "-_." for part in name) or name in RESERVED:
            raise ConfigError(
                f"providers.{name}: a simulated provider is named by letters, digits, '-', '_' "
                f"and '.', and by none of {', '.join(RESERVED)}. Rename it"
            )
    server = SimulatorServer(profiles)
    await server.listen(host, port)
    return server


RESERVED = ("v1", "stats", "reset", "config", "metrics")
