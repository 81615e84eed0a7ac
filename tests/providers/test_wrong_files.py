"""Configuration files as people write them wrongly: each is refused in words that say where, what
and how to mend it; and YAML that means what it looks like."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings import Settings
from providers.configuration import load_settings

FILE = """\
providers:
  lab: {kind: openai, base_url: "http://127.0.0.1:9000/v1", api_key: "env:LAB_KEY"}
deployments:
  small: {provider: lab, model: my-8b}
  big: {provider: lab, model: my-70b}
routes:
  default: {candidates: [small, big]}
"""
LAB, SMALL, ROUTE = 'api_key: "env:LAB_KEY"', "model: my-8b", "candidates: [small, big]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lab.yaml"


def _loaded(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load_settings(file, {})


def _refused(file: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        _loaded(file, text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        # A limit with a unit, a sign, separators, or of another time.
        ("limits: {rpm: 5k}", "limits.rpm: '5k' is not a whole number. Write 5000"),
        ("limits: {tpm: '1,000,000'}", "limits.tpm: '1,000,000' is not a whole number. Write 1000"),
        ("limits: {rpm: 1:30}", "limits.rpm: '1:30' is not a whole number. Write e.g. 60"),
        ("limits: {rpm: -5}", "limits.rpm: -5 does not fit. It must be more than 0"),
        ("limits: {in_flight: 1.5}", "limits.in_flight: 1.5 is not a whole number"),
        ("limits: {rpm: true}", "limits.rpm: true is not a number. Write a number"),
        ("limits: {rps: 3}", "limits.rps: there is no such setting. Limits are those of a minute"),
        ("limits: {requests_per_minute: 3}", "there is no such setting. Did you mean rpm?"),
        ("limits: 100", "limits: 100 is not a mapping. Write NAME: VALUE for its settings: rpm,"),
        ("rpm: 100", "small.rpm: there is no such setting. It belongs to limits"),
        ("timeout: 9", "small.timeout: there is no such setting. It belongs to providers.NAME"),
        (
            "limits: {tpm: 1000, input_tpm: 500}",
            "limits.tpm: stands beside input_tpm. Keep tpm where the provider counts all",
        ),
        ("price: 0.1", "price: 0.1 is not a mapping. Write NAME: VALUE for its settings: input_"),
        ("price: {input: 1, output: 2}", "price.input: there is no such setting. Did you mean inp"),
        (
            "price: {input_per_mtok: $0.10, output_per_mtok: 1}",
            "'$0.10' is not a number. Write 0.1",
        ),
        ("context: 8k", "context: '8k' is not a whole number. Write 8000"),
    ],
)
def test_of_a_deployment(file: Path, settings: str, said: str) -> None:
    told = _refused(file, FILE.replace(SMALL, f"{SMALL}, {settings}"))
    assert said in told
    assert told.startswith("lab.yaml:4: deployments.small.")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("api_key: '${LAB_KEY}'", "is not a reference to a key. Write api_key: env:LAB_KEY"),
        ("keys: []", "keys: is empty. Name at least one"),
        ("keys: [12]", "keys.0: is not a key. Write env:NAME or file:/path, or {key: env:NAME,"),
        ("keys: [sk-abc]", "keys.0.key: is not a reference to a key. Put the key in the environ"),
        ("keys: env:A", "keys: the value is not a list. Write [ONE]"),
        ("health: perhaps", "health: does not say whether to watch. Write true or false, or {path"),
        ("health: {path: health}", "health.path: is not a path on the server. Write what follows"),
        ("health: {every: 10s}", "health.every: '10s' is not a number of seconds. Write 10"),
        ("timeout: 2m", "timeout: '2m' is not a number of seconds. Write 120"),
        ("timeout: 2000", "timeout: 2000 does not fit. It must be at most 900"),
        (
            "plain_http: maybe",
            "plain_http: 'maybe' is neither true nor false. Write one of the two",
        ),
        ("headers: {x-team: 5}", "headers.x-team: the value is not a text. Put it in quotes"),
        ("url: http://x", "url: there is no such setting. Did you mean base_url?"),
    ],
)
def test_of_a_provider(file: Path, settings: str, said: str) -> None:
    told = _refused(file, FILE.replace(LAB, settings))
    assert said in told
    assert told.startswith("lab.yaml:2: providers.lab.")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("candidates: small", "candidates: 'small' is not a list. Write [small], or a line"),
        ("candidates: [smal]", "candidates.0: smal is not under deployments. Did you mean small?"),
        ("candidates: [small, big, small]", "candidates.2: small is there already. Name each"),
        (f"{ROUTE}, refused: [big, big]", "refused.1: big is there already"),
        ("candidates: [{name: small}]", "candidates.0: a mapping is not a text. Write one word"),
        (f"{ROUTE}, choose: [cheapest]", "choose: a list is one too many. Write choose: cheapest"),
        (f"{ROUTE}, choose: Cheapest", "choose: 'Cheapest' is not known. Did you mean cheapest?"),
        (f"{ROUTE}, choose: spread", "choose: has nothing to spread over: only small serves my-8b"),
        (
            f"{ROUTE}, strategy: cheapest",
            "strategy: there is no such setting. Did you mean choose?",
        ),
        (
            f"{ROUTE}, json_schema: request",
            "json_schema: there is no such setting. It belongs to ",
        ),
        (f"{ROUTE}, checks: {{json_schema: ''}}", "checks.json_schema: is empty. Name a file"),
        (f"{ROUTE}, checks: {{json_schema: true}}", "checks.json_schema: is not a JSON schema. "),
        (
            f"{ROUTE}, checks: {{json_schema: request, invalid: accept}}",
            "checks.json_schema: counts for nothing: what is invalid is accepted. Write invalid:",
        ),
        (f"{ROUTE}, checks: {{empty: yes}}", "checks.empty: 'yes' is not known. There is accept,"),
        (f"{ROUTE}, checks: [empty]", "checks: a list is not a mapping. Write NAME: VALUE for its"),
        (
            f"{ROUTE}, choose: weighted, weights: {{small: 30%, big: 1}}",
            "weights.small: '30%' is not a number. Write 0.3",
        ),
        (f"{ROUTE}, choose: cascade, cascade: {{acept: x}}", "Did you mean accept?"),
    ],
)
def test_of_a_route(file: Path, settings: str, said: str) -> None:
    told = _refused(file, FILE.replace(ROUTE, settings))
    assert said in told
    assert told.startswith("lab.yaml:7: routes.default.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE + "yard: {metrics: {host: '0.0.0.0:9464'}}\n", "'0.0.0.0:9464' is not a host. Write"),
        (FILE + "yard: {metrics: {host: 300.0.0.1}}\n", "'300.0.0.1' is not a host. Write an addr"),
        (FILE + "yard: {express_share: 10%}\n", "express_share: '10%' is not a number. Write 0.1"),
        (FILE + "yard: 5\n", "lab.yaml:8: yard: 5 is not a mapping. Write NAME: VALUE for its set"),
        (
            FILE + "projects: [a, b]\n",
            "projects: a list is not a mapping. Write NAME: VALUE for ea",
        ),
        (FILE + "---\nmore: 1\n", "lab.yaml:8: a second document begins here. Keep one"),
        (
            FILE.replace("[small, big]", "*x"),
            "lab.yaml:7: found undefined alias 'x'. Put texts that",
        ),
        (FILE.replace("my-8b", "!!python/name:os.system x"), "lab.yaml:4: a tag (!…) stands here"),
        (
            FILE.replace("  small:", "\tsmall:"),
            "a tab stands where spaces belong. Indent with spac",
        ),
        ("providers: {}\ndeployments:\nroutes: {}\n", "lab.yaml:2: deployments: is empty. Name at"),
    ],
)
def test_of_the_whole(file: Path, text: str, said: str) -> None:
    assert said in _refused(file, text)


def test_a_misspelt_setting_is_told_once(file: Path) -> None:
    told = _refused(file, FILE.replace("candidates:", "candiates:"))
    assert told == (
        "lab.yaml:7: routes.default.candiates: there is no such setting. Did you mean candidates?"
    )


def test_a_file_in_another_encoding_is_told_without_jargon(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n" + FILE.encode())
    with pytest.raises(ConfigError, match=r"byte 6 is not UTF-8 text\. Make it a readable UTF-8"):
        load_settings(file, {})


def test_words_and_numbers_are_what_they_look_like(file: Path) -> None:
    """YAML 1.1 would read two booleans, 384 and a date."""
    text = FILE.replace("small", "no").replace("big", "on").replace("my-70b", "2024-07-18")
    settings = _loaded(file, text.replace(SMALL, f"{SMALL}, limits: {{rpm: 0600, tpm: 1e6}}"))
    assert settings.routes["default"].candidates == ["no", "on"]
    assert settings.deployments["on"].model == "2024-07-18"
    limits = settings.deployments["no"].limits
    assert (limits.rpm, limits.tpm) == (600, 1_000_000)


@pytest.mark.parametrize(
    ("health", "watched"), [("yes", True), ("{on: no}", False), ("off", False)]
)
def test_yes_and_no_switch_the_watch(file: Path, health: str, watched: bool) -> None:
    settings = _loaded(file, FILE.replace(LAB, f"health: {health}"))
    assert (settings.providers["lab"].watch is not None) is watched


def test_openai_itself_is_not_watched(file: Path) -> None:
    told = _refused(file, FILE.replace('base_url: "http://127.0.0.1:9000/v1"', "health: true"))
    assert "providers.lab.health: would watch OpenAI itself. Leave it out" in told


def test_several_keys_are_something_to_spread_over(file: Path) -> None:
    text = FILE.replace(LAB, "keys: [env:A, env:B]").replace(ROUTE, f"{ROUTE}, choose: spread")
    assert _loaded(file, text).routes["default"].choose == "spread"
