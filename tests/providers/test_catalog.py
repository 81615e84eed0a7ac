"""From a file, or from nothing but an environment, to deployments; and what is said of a
configuration that cannot be used."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings import Settings
from providers.catalog import resolve_deployments
from providers.configuration import (
    KNOWN_PROVIDERS,
    KnownProvider,
    default_settings,
    load_settings,
)
from providers.prices import price_of
from providers.simulator import load_profile

FILE = """\
providers:
  openai: {kind: openai, api_key: "env:OPENAI_API_KEY"}
  lab:    {kind: openai, base_url: "http://127.0.0.1:9000/v1", api_key: "env:LAB_KEY", timeout: 90,
           headers: {x-team: nlp}}
deployments:
  mini:   {provider: openai, model: gpt-5-mini, limits: {rpm: 5000, tpm: 2000000, in_flight: 400}}
  small:  {provider: lab, model: my-8b, price: {input_per_mtok: 0.10, output_per_mtok: 0.40}}
  bare:   {provider: lab, model: other, context: 8192}
routes:
  default: {candidates: [small, mini], max_output: 4096}
  cheap:   {candidates: [mini, small], choose: cheapest}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "batchyard.yaml"


def _loaded(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load_settings(file, {})


def _refused(file: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        _loaded(file, text)
    return str(refused.value)


def test_the_documented_shape_is_the_contract(file: Path) -> None:
    deployments = resolve_deployments(_loaded(file, FILE), {})
    mini, small, bare = (deployments[name] for name in ("mini", "small", "bare"))
    assert mini.base_url == "https://api.openai.com/v1"
    assert mini.price == price_of("openai", "gpt-5-mini")
    assert mini.context == 400_000
    assert (mini.buckets.rpm, mini.buckets.tpm, mini.buckets.in_flight) == (5000, 2_000_000, 400)
    assert small.base_url == "http://127.0.0.1:9000/v1"
    assert (small.timeout, small.api_key) == (90.0, "env:LAB_KEY")
    assert small.headers == {"x-team": "nlp"}
    assert small.price is not None
    assert (small.price.input_per_mtok, small.price.source) == (Decimal("0.10"), "configured")
    assert small.buckets.in_flight is None
    assert (bare.price, bare.context) == (None, 8192)


KEYS = 'keys: ["env:LAB_KEY", {key: "env:LAB_KEY_2", limits: {rpm: 60}}]'


def test_each_key_of_a_provider_is_a_line_of_its_deployments(file: Path) -> None:
    settings = _loaded(file, _changed('api_key: "env:LAB_KEY"', KEYS))
    deployments = resolve_deployments(settings, {})
    assert list(deployments) == ["mini", "small#1", "small#2", "bare#1", "bare#2"]
    first, second = deployments["small#1"], deployments["small#2"]
    assert (first.api_key, second.api_key) == ("env:LAB_KEY", "env:LAB_KEY_2")
    assert second.key_label == "key 2 of 2 (env:LAB_KEY_2)"
    assert deployments["mini"].key_label == "key env:OPENAI_API_KEY"
    assert (first.buckets.key, second.buckets.key) == ("small#1", "small#2")
    assert (second.model, second.price) == (first.model, first.price)
    # A key's own limits are the same buckets for all models.
    assert first.key_buckets is None
    assert second.key_buckets is not None
    assert second.key_buckets.rpm == 60
    assert deployments["bare#2"].key_buckets == second.key_buckets


@pytest.mark.parametrize(
    ("health", "url"),
    [
        ("", None),
        (", health: true", "http://127.0.0.1:9000/v1/models"),
        (", health: {path: /health, every: 30}", "http://127.0.0.1:9000/health"),
    ],
)
def test_a_server_of_ones_own_is_watched_on_request(
    file: Path, health: str, url: str | None
) -> None:
    settings = _loaded(file, _changed("timeout: 90", f"timeout: 90{health}"))
    watched = resolve_deployments(settings, {})["small"].health
    assert (watched.url if watched else None) == url


def test_the_local_model_is_watched_unless_told_not_to() -> None:
    tree = default_settings({}).model_dump(exclude_unset=True)
    for health, expected in ((None, True), (False, False)):
        tree["providers"]["local"]["health"] = health
        assert (Settings.model_validate(tree).providers["local"].watch is not None) is expected


def test_one_key_under_keys_makes_no_numbers(file: Path) -> None:
    settings = _loaded(file, _changed('api_key: "env:LAB_KEY"', 'keys: ["env:LAB_KEY"]'))
    assert resolve_deployments(settings, {})["small"].api_key == "env:LAB_KEY"


def test_settings_that_were_written_down_say_the_same(file: Path) -> None:
    settings = _loaded(file, _changed('api_key: "env:LAB_KEY"', KEYS))
    text = settings.model_dump_json(exclude_unset=True)
    assert Settings.model_validate_json(text) == settings


def test_a_file_is_found_by_variable_or_in_the_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file.write_text(FILE)
    other = tmp_path / "other.yaml"
    other.write_text(FILE.replace("mini", "tiny"))
    monkeypatch.chdir(tmp_path)
    assert "mini" in load_settings(None, {}).deployments
    assert "tiny" in load_settings(None, {"BATCHYARD_CONFIG": str(other)}).deployments
    assert "mini" in load_settings(file, {"BATCHYARD_CONFIG": str(other)}).deployments


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*--config"):
        load_settings(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_settings(None, {"BATCHYARD_CONFIG": str(tmp_path / "nowhere.yaml")})


@pytest.mark.parametrize("known", KNOWN_PROVIDERS, ids=lambda known: str(known.name))
def test_a_known_key_alone_is_enough(known: KnownProvider) -> None:
    settings = default_settings({known.variable: "k"})
    assert list(settings.providers) == [known.name]
    assert settings.providers[known.name].api_key == f"env:{known.variable}"
    assert set(settings.routes) == {"default", "cheap"}
    for deployment in resolve_deployments(settings, {}).values():
        assert deployment.base_url == known.base_url
        assert deployment.price is not None, f"{deployment.model} has no price"


def test_with_several_keys_the_routes_keep_to_one_provider() -> None:
    settings = default_settings({known.variable: "k" for known in KNOWN_PROVIDERS})
    assert set(settings.providers) == {known.name for known in KNOWN_PROVIDERS}
    used = {
        settings.deployments[name].provider
        for route in settings.routes.values()
        for name in route.candidates
    }
    assert used == {"openai"}


def test_an_openai_key_goes_where_its_own_variable_says() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://proxy.example.org/v1/"}
    deployments = resolve_deployments(default_settings(environ), {})
    assert {one.base_url for one in deployments.values()} == {"https://proxy.example.org/v1"}
    assert {one.price for one in deployments.values()} == {None}


def test_an_empty_key_is_no_key() -> None:
    assert "sim" in default_settings({"OPENAI_API_KEY": " "}).providers


def test_with_no_key_the_yard_simulates() -> None:
    settings = default_settings({})
    urls = {"sim": "http://127.0.0.1:1/v1/", "local": "http://127.0.0.1:2/v1"}
    deployments = resolve_deployments(settings, urls)
    assert set(deployments) == {"sim-small", "sim-large", "local"}
    assert deployments["sim-small"].base_url == "http://127.0.0.1:1/v1"
    assert all(one.price is not None for one in deployments.values())
    assert settings.routes["default"].candidates == ["sim-small", "sim-large"]


def test_the_default_profile_is_one_the_simulator_takes() -> None:
    settings = default_settings({})
    profile = load_profile(settings.providers["sim"].profile)
    for name in ("sim-small", "sim-large"):
        price, configured = profile.models[name].price, settings.deployments[name].price
        assert configured is not None
        assert price.input_per_mtok == configured.input_per_mtok
        assert price.output_per_mtok == configured.output_per_mtok
        assert profile.models[name].context == settings.deployments[name].context


def test_a_managed_provider_that_listens_nowhere_is_named() -> None:
    with pytest.raises(ConfigError, match=r"providers\.sim.*batchyard up"):
        resolve_deployments(default_settings({}), {})


def test_a_simulator_of_ones_own_needs_no_yard(file: Path) -> None:
    settings = _loaded(
        file,
        "providers: {sim: {kind: simulator, base_url: 'http://127.0.0.1:9/v1'}}\n"
        "deployments: {a: {provider: sim, model: m}}\n"
        "routes: {default: {candidates: [a]}}\n",
    )
    assert resolve_deployments(settings, {})["a"].base_url == "http://127.0.0.1:9/v1"


def _changed(old: str, new: str) -> str:
    assert old in FILE
    return FILE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rpm: 5000", "rpm: 0", "batchyard.yaml:6: deployments.mini.limits.rpm: 0 "),
        (
            "rpm: 5000",
            "rmp: 5000",
            ("deployments.mini.limits.rmp: there is no such setting. Did you mean rpm?"),
        ),
        (
            "timeout: 90",
            "tmeout: 90",
            (
                "batchyard.yaml:3: providers.lab.tmeout: there is no such "
                "setting. Did you mean timeout?"
            ),
        ),
        (
            "providers:\n",
            "provider:\n",
            ("provider: there is no such setting. Did you mean providers?"),
        ),
        ("routes:\n", "route:\n", "route: there is no such setting. Did you mean routes?"),
        (
            "{kind: openai, api",
            "{kind: opnai, api",
            ("providers.openai.kind: 'opnai' is not known. Did you mean openai?"),
        ),
        (
            "provider: openai",
            "provider: opena",
            ("deployments.mini.provider: opena is not under providers. Did you mean openai?"),
        ),
        (
            "[small, mini]",
            "[smal, mini]",
            ("routes.default.candidates.0: smal is not under deployments. Did you mean small?"),
        ),
        ("[small, mini]", "[]", "routes.default.candidates: is empty"),
        (
            "choose: cheapest",
            "choose: cheap",
            ("routes.cheap.choose: 'cheap' is not known. Did you mean cheapest?"),
        ),
        ("model: my-8b", "model: 8", "deployments.small.model: 8 is not a text. Put it in quotes"),
        ("input_per_mtok: 0.10", "input_per_mtok: -1", "deployments.small.price.input_per_mtok"),
        (
            "http://127.0.0.1:9000/v1",
            "127.0.0.1:9000",
            ("providers.lab.base_url: is not an address"),
        ),
        ("9000/v1", "9000/v1/chat/completions", "Leave /chat/completions off"),
        ("  mini:", '  "mi ni":', "deployments.mi ni: cannot be a name"),
        ("  mini:", '  "mini#1":', "deployments.mini#1: cannot be a name"),
        (
            "timeout: 90",
            'keys: ["env:A"]',
            "providers.lab.api_key: stands beside keys. List all of them under keys",
        ),
        (
            'api_key: "env:LAB_KEY"',
            'keys: ["env:A", "env:A"]',
            "providers.lab.keys.1: is there already. Name each key once",
        ),
        (
            'api_key: "env:LAB_KEY"',
            'keys: [{key: "env:A", limit: {rpm: 1}}]',
            "providers.lab.keys.0.limit: there is no such setting. Did you mean limits?",
        ),
        (
            "timeout: 90",
            "health: {pth: /health}",
            "providers.lab.health.pth: there is no such setting. Did you mean path?",
        ),
        (
            "  bare:",
            "  mini:",
            (
                "deployments.mini: is there again on line 8. It stands on line 6 "
                "already; keep one of them"
            ),
        ),
        ("routes:\n", "routes:\n\t", "batchyard.yaml:10: a tab stands where spaces belong"),
        ("[small, mini]", "[small, mini", "batchyard.yaml:10: "),
    ],
)
def test_each_mistake_names_its_place_and_its_fix(
    file: Path, old: str, new: str, said: str
) -> None:
    assert said in _refused(file, _changed(old, new))


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    text = _changed("rpm: 5000", "rpm: 0").replace("timeout: 90", "timeout: 0")
    assert len(_refused(file, text).splitlines()) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("env:LAB_KEY", "sk-verysecret"),
        ("env:LAB_KEY", "env:sk-verysecret"),
        ('api_key: "env:LAB_KEY"', 'keys: ["sk-verysecret"]'),
        ('api_key: "env:LAB_KEY"', "keys: [{key: sk-verysecret}]"),
        ('api_key: "env:LAB_KEY"', "keys: sk-verysecret"),
        ("x-team: nlp", "authorization: Bearer sk-verysecret"),
        ("x-team: nlp", "x-api-key: sk-verysecret"),
        ("127.0.0.1:9000", "user:sk-verysecret@127.0.0.1:9000"),
    ],
)
def test_a_secret_in_the_file_is_refused_unseen(file: Path, old: str, new: str) -> None:
    said = _refused(file, _changed(old, new))
    assert "verysecret" not in said
    assert "batchyard.yaml:" in said


def test_a_literal_key_is_told_where_to_go(file: Path) -> None:
    assert "api_key: env:NAME" in _refused(file, _changed("env:LAB_KEY", "sk-abc"))


def test_keys_cross_no_network_in_the_clear(file: Path) -> None:
    text = _changed("127.0.0.1:9000", "10.1.2.3:9000")
    assert "plain_http: true" in _refused(file, text)
    _loaded(file, text.replace("timeout: 90", "timeout: 90, plain_http: true"))
    _loaded(file, text.replace('api_key: "env:LAB_KEY", ', ""))
    assert "plain_http" in _refused(file, text.replace('api_key: "env:LAB_KEY"', KEYS))
    _loaded(file, text.replace("http://10", "https://10"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n", "just words\n"])
def test_a_file_of_another_shape_is_told_what_to_hold(file: Path, text: str) -> None:
    assert "providers" in _refused(file, text)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(file, {})


def test_an_alias_that_holds_itself_ends(file: Path) -> None:
    assert "providers" in _refused(file, "providers: &a {lab: *a}\n")


def test_anchors_spare_repetition(file: Path) -> None:
    text = _changed("limits: {rpm: 5000", "limits: &l {rpm: 5000").replace(
        "model: my-8b", "model: my-8b, limits: *l"
    )
    assert _loaded(file, text).deployments["small"].limits.rpm == 5000


def test_a_yard_that_would_lose_its_lease_is_refused(file: Path) -> None:
    said = _refused(file, FILE + "yard: {lease: 4, heartbeat: 3}\n")
    assert "yard.heartbeat: 3 s is more than half of the lease" in said


def test_the_digest_follows_the_content(file: Path) -> None:
    first = _loaded(file, FILE).digest()
    assert _loaded(file, "# a comment\n" + FILE).digest() == first
    assert _loaded(file, _changed("rpm: 5000", "rpm: 5001")).digest() != first


CHECKED = FILE + "  strict: {candidates: [mini], checks: {empty: next, json_schema: %s}}\n"


def test_an_answers_schema_stands_in_the_file_or_in_one_of_its_own(file: Path) -> None:
    schema = {"type": "object", "required": ["label"]}
    (file.parent / "answer.json").write_text(json.dumps(schema))
    for written in ("answer.json", json.dumps(schema)):
        checks = _loaded(file, CHECKED % written).routes["strict"].checks
        assert checks.json_schema == schema
        resolved = checks.resolved()
        assert (resolved.empty, resolved.truncated, resolved.invalid) == ("next", "accept", "next")
        assert json.loads(resolved.schema or "") == schema
    assert _loaded(file, CHECKED % "request").routes["strict"].checks.resolved().schema == "request"
    again = Settings.model_validate_json(_loaded(file, CHECKED % "answer.json").model_dump_json())
    assert again.routes["strict"].checks.json_schema == schema


def test_a_schema_that_is_none_is_refused_with_its_place(file: Path) -> None:
    (file.parent / "bad.json").write_text("{")
    for written, words in [
        ("nowhere.json", "cannot be read"),
        ("bad.json", "is not JSON"),
        ("{properties: {a: {type: nonsense}}}", "is no usable JSON schema: at $.properties.a.type"),
        ('{$ref: "http://127.0.0.1:1/x"}', "is no usable JSON schema"),
    ]:
        said = _refused(file, CHECKED % written)
        assert "routes.strict.checks.json_schema" in said
        assert words in said
        assert "batchyard.yaml:12" in said


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("choose: cheap", "'cheap' is not known. Did you mean cheapest?"),
        ("weights: {small: 1}", "weights: count only for weighted. Write choose: weighted"),
        ("choose: weighted", "weights: small has none. Add small: 1, or 0"),
        (
            "choose: weighted, weights: {small: 1, smal: 2}",
            "smal: is no candidate. Did you mean small",
        ),
        ("choose: weighted, weights: {small: -1}", "weights.small: -1 is no share"),
        ("choose: weighted, weights: {small: .nan}", "weights.small: nan is no share"),
        ("choose: weighted, weights: {small: 0}", "weights: are all 0"),
        ("too_long: [min]", "too_long.0: min is not under deployments. Did you mean mini?"),
        ("refused: [nobody]", "refused.0: nobody is not under deployments"),
        ("choose: optimize", "router: is missing, and optimize goes by it. Name a model"),
        ("router: tickets", "router: counts for nothing with ordered. Write choose: fixed,"),
        ("choose: fixed, router: {model: a, quality: 0.9}", "router.quality: is nothing that"),
        (
            "choose: optimize, router: {model: a, quality: 0.9, usd_per_1k: 2}",
            "router.usd_per_1k: stands beside quality. Give the one",
        ),
        ("choose: threshold, router: {model: a, qualty: 1}", "Did you mean quality?"),
        ("choose: threshold, router: {model: a, explore: 0.9}", "at most 0.5"),
    ],
)
def test_a_wrong_policy_is_told_with_its_remedy(file: Path, rules: str, told: str) -> None:
    text = FILE.replace("candidates: [small, mini],", f"candidates: [small], {rules},")
    assert told in _refused(file, text)


def test_a_route_can_be_numbered(file: Path) -> None:
    keys = ", ".join(f"env:K{n}" for n in range(61))
    text = FILE.replace('api_key: "env:LAB_KEY"', f"keys: [{keys}]")
    assert "routes.default: comes to 62 deployments and keys, 60 at most" in _refused(file, text)


def test_the_example_is_a_configuration_that_holds() -> None:
    settings = load_settings(Path(__file__).parents[2] / "examples" / "batchyard.yaml", {})
    assert settings.routes["shared"].weights == {"mini": 1, "small": 3}
    assert settings.routes["patient"].too_long == ["mini"]
    assert resolve_deployments(settings, {})


def test_a_key_in_a_file_is_found_from_the_configurations_folder(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = FILE.replace(
        'api_key: "env:LAB_KEY"', "keys: [file:keys/a, {key: file:keys/b}, file:/c, file:~/d]"
    )
    monkeypatch.chdir(file.parent)
    file.write_text(several)
    lab = load_settings(Path(file.name), {}).providers["lab"]
    here = file.parent / "keys"
    assert lab.references == (f"file:{here / 'a'}", f"file:{here / 'b'}", "file:/c", "file:~/d")
