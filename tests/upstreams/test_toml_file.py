"""upstreams.toml: what it may say, and one line for each mistake in it."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from upstreams import registry
from upstreams.configuration.toml_file import Mistakes, UpstreamsFile, read
from upstreams.offer.catalogue import SORA, AnyLength, AnySize

TWO = """
default_model = "wan-2.2"

[[upstreams]]
name = "rented"
dialect = "openrouter"
base_url = "https://openrouter.example/api/v1/"
api_key_env = "RENTED_KEY"
order = 2
requests_per_minute = 30
bills_failed = true
content_hosts = ["cdn.example"]
webhook_secret_env = "RENTED_SECRET"

[[upstreams.models]]
name = "wan-2.2"
sends = "alibaba/wan-2.2"
sizes = ["1280x720", "720x1280"]
seconds = [4, 7.5, 8]
takes = ["seed", "audio"]
extra = ["cfg_scale"]
price_per_second = { 720p = 0.10, "720x1280" = "0.12" }

[[upstreams]]
name = "cellar"
dialect = "vllm-omni"
base_url = "http://10.0.0.5:8000/v1"
order = 1
concurrency = 2

[[upstreams.models]]
name = "wan-2.2"
sizes = { least = 256, most = 1280, step = 16 }
seconds = { most = 10, usual = 5 }
takes = ["seed", "fps", "negative_prompt"]
free = true

[[upstreams.models]]
name = "other"
price_per_second = 0.05
"""
ENVIRONMENT = {"RENTED_KEY": "a-key", "RENTED_SECRET": "whsec_YQ=="}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "upstreams.toml"


def reading(file: Path, text: str, environment: dict[str, str] = ENVIRONMENT) -> UpstreamsFile:
    file.write_text(text)
    return read(str(file), environment)


def mistakes(file: Path, text: str, environment: dict[str, str] = ENVIRONMENT) -> list[str]:
    with pytest.raises(Mistakes) as raised:
        reading(file, text, environment)
    assert all(line.startswith(f"{file}: ") for line in raised.value.lines)
    return [line.removeprefix(f"{file}: ") for line in raised.value.lines]


def test_each_upstream_has_its_own_terms_and_the_preferred_one_comes_first(file: Path) -> None:
    found = reading(file, TWO)
    cellar, rented = found.entries
    assert (found.default_model, cellar.name, rented.name) == ("wan-2.2", "cellar", "rented")
    assert (rented.base_url, rented.api_key, cellar.api_key) == (
        "https://openrouter.example/api/v1",
        "a-key",
        "",
    )
    assert (rented.concurrency, rented.requests_per_minute, rented.bills_failed) == (4, 30, True)
    assert (cellar.concurrency, cellar.requests_per_minute, cellar.bills_failed) == (2, 0, False)
    assert (rented.content_hosts, rented.webhook_secrets) == (("cdn.example",), ("whsec_YQ==",))


def test_a_catalogue_says_what_is_rendered_and_what_it_costs(file: Path) -> None:
    cellar, rented = reading(file, TWO).entries
    wan = rented.catalogue.models["wan-2.2"]
    assert (wan.sizes, wan.seconds, wan.sends) == (
        ("1280x720", "720x1280"),
        ("4", "7.5", "8"),
        "alibaba/wan-2.2",
    )
    assert (wan.takes, wan.extra) == ({"seed", "audio"}, {"cfg_scale"})
    assert (wan.cost("1280x720", "4"), wan.cost("720x1280", "7.5")) == (Decimal("0.4"), Decimal("0.9"))
    own = cellar.catalogue.models["wan-2.2"]
    assert (own.sizes, own.seconds) == (AnySize(256, 1280, 16), AnyLength(1, 10, 5))
    assert own.takes == {"seed", "fps", "negative_prompt"}
    assert own.cost("512x512", "10") == 0
    # By default all that the dialect has, at no known price; what is free is free in all forms.
    assert (wan.operations, wan.cost_from_source("1280x720", "4")) == ({"edit", "extend"}, None)
    assert (own.operations, own.cost_from_source("512x512", "10")) == (set(), 0)
    other = cellar.catalogue.models["other"]
    assert (other.sizes, other.cost("512x512", "10")) == (AnySize(), Decimal("0.5"))


def test_what_may_be_made_from_a_video_and_its_price_can_be_said(file: Path) -> None:
    more = 'operations = ["extend"]\noperation_price_per_second = { 720p = 0.2 }\n'
    _, rented = reading(file, TWO.replace('extra = ["cfg_scale"]', f'extra = ["cfg_scale"]\n{more}')).entries
    wan = rented.catalogue.models["wan-2.2"]
    assert (wan.operations, wan.cost_from_source("720x1280", "7.5")) == ({"extend"}, Decimal("1.5"))


def test_without_an_order_they_are_preferred_as_they_stand(file: Path) -> None:
    text = re.sub(r"order = \d\n", "", TWO).replace('default_model = "wan-2.2"\n', "")
    found = reading(file, text)
    assert [entry.name for entry in found.entries] == ["rented", "cellar"]
    assert found.default_model == "wan-2.2"


def test_the_models_of_openai_are_known(file: Path) -> None:
    text = '[[upstreams]]\nname = "a"\ndialect = "openai"\nbase_url = "https://a.example/v1"\n'
    (entry,) = reading(file, text).entries
    assert entry.catalogue.models == SORA.models


MISTAKES: list[tuple[str, str, str]] = [
    (
        'name = "cellar"',
        'name = "rented"',
        '"rented": it is there twice; a name is the identity of one',
    ),
    (
        'dialect = "vllm-omni"',
        'dialect = "vllm"',
        'upstreams: "cellar": dialect: "vllm" is not one of openai,',
    ),
    ('dialect = "vllm-omni"\n', "", 'upstreams: "cellar": dialect: This field is required.'),
    (
        'base_url = "http://10.0.0.5:8000/v1"',
        'base_url = "10.0.0.5"',
        '"cellar": base_url: the base URL must be',
    ),
    (
        'base_url = "http://10.0.0.5:8000/v1"',
        'base_url = "http://a:b@c/"',
        '"cellar": base_url: the base URL must',
    ),
    (
        '"RENTED_KEY"',
        '"NOBODYS_KEY"',
        'upstream "rented": api_key_env: NOBODYS_KEY is not set in the environment.',
    ),
    (
        '"RENTED_KEY"',
        '"sk-secret value"',
        '"rented": api_key_env: The name of an environment variable is required.',
    ),
    (
        "price_per_second = 0.05",
        "price_per_second = 0",
        'models: "other": price_per_second: It must be above 0',
    ),
    (
        "price_per_second = 0.05",
        "price_per_second = -1",
        'models: "other": price_per_second: It must be above 0',
    ),
    ("price_per_second = 0.05", "price_per_second = nan", 'models: "other": price_per_second: '),
    (
        "price_per_second = 0.05",
        'price_per_second = "free"',
        '"other": price_per_second: A number of dollars',
    ),
    (
        "price_per_second = 0.05",
        "price_per_second = {}",
        '"other": price_per_second: The table names no price.',
    ),
    (
        "720p = 0.10",
        "721p = 0.10",
        '"wan-2.2": price_per_second: 721p: Give a size such as 1280x720, or one of',
    ),
    (
        "720p = 0.10",
        "1080p = 0.10",
        '"wan-2.2": price_per_second: 1080p is none of its sizes or resolutions.',
    ),
    ("free = true", "free = true\nprice_per_second = 1", '"wan-2.2": it has a price and is free; leave one'),
    ('name = "other"', 'name = "wan-2.2"', 'upstream "cellar": models: wan-2.2 is there twice'),
    ('sizes = ["1280x720"', 'sizes = ["1280*720"', '"wan-2.2": sizes: number 1: A size is WIDTHxHEIGHT'),
    ('sizes = ["1280x720"', 'sizes = ["720x1280"', '"wan-2.2": sizes: A value is there twice.'),
    (
        "seconds = [4,",
        "seconds = [0,",
        '"wan-2.2": seconds: number 1: A number of seconds above 0 is required.',
    ),
    ("least = 256", "least = 4096", '"wan-2.2": sizes: least exceeds most.'),
    ("usual = 5", "usual = 11", '"wan-2.2": seconds: usual must be from least to most.'),
    (
        'takes = ["seed", "audio"]',
        'takes = ["seed", "fps"]',
        '"wan-2.2": takes: the dialect openrouter has no field for fps.',
    ),
    ('["cfg_scale"]', '["model"]', '"wan-2.2": extra: model is a field that Take One sends itself.'),
    (
        '["cfg_scale"]',
        '["resolution"]',
        '"wan-2.2": extra: resolution is a field that Take One sends itself.',
    ),
    (
        '["cfg_scale"]',
        '["previous_job_id"]',
        '"wan-2.2": extra: previous_job_id is a field that Take One sends itself.',
    ),
    ('["cfg_scale"]', '[]\noperations = ["edit", "edit"]', '"wan-2.2": operations: A value is there twice.'),
    (
        '["cfg_scale"]',
        "[]\noperations = []\noperation_price_per_second = 1",
        "operation_price_per_second: the model has no operations; leave it out.",
    ),
    ("free = true", 'free = true\noperations = ["remix"]', "operations: the dialect vllm-omni has no remix."),
    ("bills_failed", 'operations = ["x"]\nbills_failed', '"rented": operations: There is no such field'),
    ('["cfg_scale"]', '[]\noperations = ["twist"]', 'operations: number 1: "twist" is not one of remix'),
    (
        "free = true",
        "free = true\noperation_price_per_second = 1",
        "operation_price_per_second: the model is free",
    ),
    (
        '["cfg_scale"]',
        "[]\noperation_price_per_second = { 1080p = 1 }",
        "operation_price_per_second: 1080p is none of its sizes",
    ),
    ("concurrency = 2", "concurrency = 0", '"cellar": concurrency: '),
    (
        "concurrency = 2",
        "concurency = 2",
        '"cellar": concurency: There is no such field; there are api_key_env,',
    ),
    ("bills_failed = true", 'bills_failed = "no"', '"rented": bills_failed: true or false is required.'),
    (
        '["cdn.example"]',
        '["https://cdn.example"]',
        "\"rented\": content_hosts: number 1: 'https://cdn.example' is",
    ),
    (
        'default_model = "wan-2.2"',
        'default_model = "sora"',
        'default_model: "sora" is no model of an upstream.',
    ),
    (TWO, "", "upstreams: This field is required."),
    (TWO, "upstreams = []", "upstreams: "),
    (TWO, "[[upstreams", "it is not TOML: "),
]


@pytest.mark.parametrize(("right", "wrong", "line"), MISTAKES)
def test_a_mistake_is_one_line_that_says_where_it_is(file: Path, right: str, wrong: str, line: str) -> None:
    assert right in TWO
    (found,) = mistakes(file, TWO.replace(right, wrong, 1))
    assert line in found
    assert "\n" not in found


def test_every_mistake_has_its_line(file: Path) -> None:
    text = TWO.replace("concurrency = 2", "concurrency = 0").replace("order = 2", 'order = "first"')
    assert len(mistakes(file, text)) == 2


def test_two_upstreams_do_not_share_what_signs_their_notifications(file: Path) -> None:
    text = TWO.replace("concurrency = 2", 'webhook_secret_env = "RENTED_SECRET"')
    assert mistakes(file, text) == [
        "webhook_secret_env: two upstreams have the same secret, and must have their own."
    ]


def test_an_upstream_without_models_is_refused_unless_they_are_known(file: Path) -> None:
    text = TWO[: TWO.index("[[upstreams.models]]")].replace('"openrouter"', '"sglang"')
    assert mistakes(file, text)[0].startswith('upstream "rented": models: name the models')


def test_a_file_that_cannot_be_read_is_said_so(file: Path) -> None:
    with pytest.raises(Mistakes, match="it cannot be read: No such file"):
        read(str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(Mistakes, match="it is not TOML"):
        read(str(file))
    file.write_text("#" * 2_000_000)
    with pytest.raises(Mistakes, match="larger than"):
        read(str(file))


def test_no_mistake_shows_a_key(file: Path) -> None:
    lines = mistakes(file, TWO, {"RENTED_KEY": "sk-hid\x07den", "RENTED_SECRET": "whsec_YQ=="})
    assert len(lines) == 1
    assert "sk-hid" not in lines[0]


def test_the_start_is_refused_with_a_line_for_each_mistake(file: Path, settings: Settings) -> None:
    file.write_text(TWO)
    settings.UPSTREAMS_FILE = str(file)
    lines = [str(each.msg) for each in run_checks(tags=["settings"])]
    assert [line.partition(": ")[2] for line in lines] == [
        'upstream "rented": api_key_env: RENTED_KEY is not set in the environment.',
        'upstream "rented": webhook_secret_env: RENTED_SECRET is not set in the environment.',
    ]


def test_a_file_and_one_upstream_of_the_environment_are_one_too_many(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    file.write_text(TWO)
    settings.UPSTREAMS_FILE, settings.SORA_BASE_URL_CHOSEN = str(file), True
    (found,) = run_checks(tags=["settings"])
    assert found.id == "videos.E009"


def test_the_configured_upstreams_are_those_of_the_file(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    file.write_text(TWO)
    settings.UPSTREAMS_FILE = str(file)
    found: Any = registry.configured()
    assert [each.name for each in found] == ["cellar", "rented"]
    assert {name: [each.name for each in offering] for name, offering in found.models().items()} == {
        "wan-2.2": ["cellar", "rented"],
        "other": ["cellar"],
    }
    assert found.get("rented").client._auth._api_key == "a-key"
    assert (found.get("rented").requests_per_minute, found.get("nobody")) == (30, None)
