import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from kombu.utils.url import parse_url

from config import env

READ: dict[str, Callable[[], object]] = {
    "number": lambda: env.number("X", 1, least=0, most=10),
    "integer": lambda: env.integer("X", 1, least=0, most=10),
    "flag": lambda: env.flag("X"),
    "choice": lambda: env.choice("X", "a", ["a", "b"]),
    "url": lambda: env.url("X"),
    "numbers": lambda: env.numbers("X", [1, 2], most=10),
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
        ("numbers", "1,nan"),
        ("numbers", "1,inf"),
        ("numbers", "1,11"),
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


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("number", b"2.5\n", 2.5),
        ("flag", b"yes", True),
        ("choice", b"\r\n b \r\n", "b"),
        ("url", b"https://host/v1/\n", "https://host/v1"),
        ("numbers", b"1,2", [1, 2]),
        ("signing_secrets", b"whsec_YQ==\nplain\n", ["whsec_YQ==", "plain"]),
    ],
)
def test_a_variable_may_be_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, raw: bytes, value: object
) -> None:
    (tmp_path / "x").write_bytes(raw)
    (tmp_path / "link").symlink_to(tmp_path / "x")
    for name in ("x", "link"):
        monkeypatch.setenv("X_FILE", str(tmp_path / name))
        assert READ[kind]() == value
    # An empty variable counts as one that is not set.
    monkeypatch.setenv("X", " ")
    assert READ[kind]() == value


def test_a_variable_and_its_file_are_not_both_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X", "hunter2")
    monkeypatch.setenv("X_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="X and X_FILE are both set") as refused:
        env.text("X")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing", "cannot be read: No such file"),
        ("x/under a file", "cannot be read: Not a directory"),
        ("folder", "cannot be read: Is a directory"),
        ("pipe", "must name a file"),
        ("empty", "has no value"),
        ("blank", "has no value"),
        ("nul", "has no value"),
        ("binary", "not text in UTF-8"),
        ("large", "larger than 65536 bytes"),
    ],
)
@pytest.mark.timeout(10)
def test_a_file_without_a_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, told: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for file, content in {
        "x": b"",
        "empty": b"",
        "blank": b" \n",
        "nul": b"hunter2\0",
        "binary": b"hunter2\xff",
        "large": b"hunter2" * 10_000,
    }.items():
        (tmp_path / file).write_bytes(content)
    monkeypatch.setenv("X_FILE", str(tmp_path / name))
    with pytest.raises(ImproperlyConfigured, match=f"^X_FILE .*{told}") as refused:
        env.text("X")
    assert "hunter2" not in str(refused.value)


def test_the_largest_file_that_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a" * 65_536)
    monkeypatch.setenv("X_FILE", str(tmp_path / "x"))
    assert env.text("X") == "a" * 65_536


PASSWORD = "p@ss/w:or+d %41#?é"


def test_an_address_takes_its_password_from_another_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("PW_FILE", str(tmp_path / "password"))

    def read(address: str) -> str:
        monkeypatch.setenv("X", address)
        return env.url_with_password("X", "PW", schemes=("redis",))

    monkeypatch.setenv("X", "postgres://ada@Database:5433/name")
    assert env.postgresql("X", "PW") == {
        "NAME": "name",
        "USER": "ada",
        "PASSWORD": PASSWORD,
        "HOST": "Database",
        "PORT": "5433",
        "OPTIONS": {},
    }
    # Both of those that use the broker's address read it.
    found = read("redis://cache:6379/2")
    assert redis.Redis.from_url(found).connection_pool.connection_kwargs["password"] == PASSWORD
    assert parse_url(found)["password"] == PASSWORD
    monkeypatch.delenv("PW_FILE")
    assert read("redis://cache:6379/2") == "redis://cache:6379/2"


@pytest.mark.parametrize(
    ("address", "told"), [("", "PW is set and X is not"), ("redis://:hunter3@host", "X has a password")]
)
def test_a_password_without_a_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, told: str
) -> None:
    monkeypatch.setenv("X", address)
    monkeypatch.setenv("PW", "hunter2")
    with pytest.raises(ImproperlyConfigured, match=told) as refused:
        env.url_with_password("X", "PW", schemes=("redis",))
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("postgresql://%2Frun%2FPostgreSQL/name", ("/run/PostgreSQL", "", {})),
        ("postgresql:///name?host=/run/postgresql", ("/run/postgresql", "", {})),
        ("postgresql:///name", ("", "", {})),
        ("postgres://one:5432,two:5433/name", ("one,two", "5432,5433", {})),
        (
            "postgres://one/name?sslmode=require&application_name=x",
            ("one", "", {"sslmode": "require", "application_name": "x"}),
        ),
        ("postgres://[::1]:5432/name", ("::1", "5432", {})),
        ("Postgres://one/name/", ("one", "", {})),
        ("PostgreSQL://one/name/?sslmode=require", ("one", "", {"sslmode": "require"})),
    ],
)
def test_a_database_is_named_in_all_ways_that_libpq_knows(
    monkeypatch: pytest.MonkeyPatch, address: str, place: tuple[str, str, dict[str, str]]
) -> None:
    monkeypatch.setenv("X", address)
    found = env.postgresql("X", "PW")
    assert (found["NAME"], found["HOST"], found["PORT"], found["OPTIONS"]) == ("name", *place)


@pytest.mark.parametrize(
    "address",
    [
        "mysql://hunter2@host/name", "postgres://user:hunter2@host", "postgres://user:hunt/er2@host/name",
        "postgres://user:hunter@2@host/name", "postgres://host:hunter2/name", "hunter2", "postgres://[hunter2/name",
        "postgres://host/name?hunter2=1",
    ],
)  # fmt: skip
def test_an_address_of_no_database_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("X", address)
    with pytest.raises(ImproperlyConfigured, match="X must look like") as refused:
        env.postgresql("X", "PW")
    assert "hunt" not in str(refused.value)


def test_a_password_of_a_database_stands_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "postgres://user:hunter3@host/name")
    assert env.postgresql("X", "PW")["PASSWORD"] == "hunter3"
    monkeypatch.setenv("PW", "hunter2")
    with pytest.raises(ImproperlyConfigured, match="X has a password") as refused:
        env.postgresql("X", "PW")
    assert "hunter" not in str(refused.value)
    monkeypatch.setenv("X", "")
    with pytest.raises(ImproperlyConfigured, match="PW is set and X is not"):
        env.postgresql("X", "PW")
