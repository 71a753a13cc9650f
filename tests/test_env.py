from collections.abc import Callable

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env

READ: dict[str, Callable[[], object]] = {
    "number": lambda: env.number("X", 1, least=0, most=10),
    "integer": lambda: env.integer("X", 1, least=0, most=10),
    "flag": lambda: env.flag("X"),
    "choice": lambda: env.choice("X", "a", ["a", "b"]),
    "url": lambda: env.url("X"),
    "numbers": lambda: env.numbers("X", [1, 2]),
    "signing_secrets": lambda: env.signing_secrets("X"),
}


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("number", "", 1),
        ("number", "2.5", 2.5),
        ("integer", "7", 7),
        ("flag", "", False),
        ("flag", "Yes", True),
        ("flag", "0", False),
        ("choice", " b ", "b"),
        ("url", "", ""),
        ("url", "https://host/v1/", "https://host/v1"),
        ("url", "HTTPS://Video.Example:8443/V1", "https://video.example:8443/V1"),
        ("url", "hTTp://Ada:Pass%2FWord@[2001:DB8::1]/", "http://Ada:Pass%2FWord@[2001:db8::1]"),
        ("numbers", "", [1, 2]),
        ("numbers", "1, 2.5,9", [1, 2.5, 9]),
        ("signing_secrets", "", []),
        ("signing_secrets", " whsec_YQ==  plain ", ["whsec_YQ==", "plain"]),
    ],
)
def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch, kind: str, raw: str, value: object) -> None:
    monkeypatch.setenv("X", raw)
    assert READ[kind]() == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("number", "many"),
        ("number", "11"),
        ("number", "-1"),
        ("number", "nan"),
        ("integer", "1.5"),
        ("integer", "inf"),
        ("flag", "perhaps"),
        ("choice", "c"),
        ("url", "ftp://host"),
        ("url", "host:80"),
        ("url", "http://"),
        ("url", "http://ada:hunter2/3@host"),
        ("url", "http://host:0"),
        ("url", "http://[::1"),
        ("numbers", "1,x"),
        ("numbers", "2,1"),
        ("numbers", "0,1"),
        ("signing_secrets", "whsec_"),
        ("signing_secrets", "plain whsec_YQ"),
        ("signing_secrets", "whsec_Y!Q=="),
    ],
)
def test_nonsense_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, kind: str, raw: str) -> None:
    monkeypatch.setenv("X", raw)
    with pytest.raises(ImproperlyConfigured, match="X must") as refused:
        READ[kind]()
    assert "hunter2" not in str(refused.value)
