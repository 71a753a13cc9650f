"""What a key attempts like, and what is kept of it."""

import hmac
import re
import time
import zlib
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection
from django.utils import timezone

from accounts.keys import key_format
from accounts.models import ApiKey, User
from tests.services import ROOT

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The example of docs/keys-and-people.md.
WHOLE = "takeone_ExampleExampleExampleExampleExampleExampleE1QSUQI"


def test_a_key_has_a_prefix_random_characters_and_their_checksum() -> None:
    secret = key_format.generate()
    assert re.fullmatch(key_format.PATTERN, secret)
    assert len(secret) == 8 + 43 + 6
    value = 0
    for character in secret[-6:]:
        value = value * 62 + DIGITS.index(character)
    assert value == zlib.crc32(secret[8:-6].encode())
    assert key_format.is_well_formed(secret)


def test_no_two_keys_are_alike() -> None:
    assert len({key_format.generate() for _ in range(1000)}) == 1000


def test_a_key_carries_256_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(key_format.secrets, "randbits", lambda bits: asked.append(bits) or 2**bits - 1)
    largest = key_format.generate()
    assert asked == [256]
    assert key_format.is_well_formed(largest)
    monkeypatch.setattr(key_format.secrets, "randbits", lambda bits: 0)
    assert key_format.generate().startswith("takeone_" + "0" * 43)


def test_any_single_typing_error_is_found() -> None:
    secret = key_format.generate()
    for place in range(len(secret)):
        for other in ("x", "0"):
            if secret[place] != other:
                assert not key_format.is_well_formed(secret[:place] + other + secret[place + 1 :])
    for place in range(8, len(secret) - 1):
        swapped = secret[:place] + secret[place + 1] + secret[place] + secret[place + 2 :]
        assert swapped == secret or not key_format.is_well_formed(swapped)


def test_a_part_of_a_key_is_none() -> None:
    secret = key_format.generate()
    assert not any(key_format.is_well_formed(secret[:length]) for length in range(len(secret)))
    assert not any(key_format.is_well_formed(secret[start:]) for start in range(1, len(secret)))


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "{}{}", '"{}"', "{}\x00", "{},{}", "Bearer {}"])
def test_a_key_with_something_around_it_is_none(around: str) -> None:
    secret = key_format.generate()
    assert not key_format.is_well_formed(around.format(secret, secret))


@pytest.mark.parametrize("digit", ["\u0661", "\uff11", "é", "-", "_"])
def test_only_ascii_letters_and_digits_count(digit: str) -> None:
    assert not key_format.is_well_formed("takeone_" + digit * 49)


@pytest.mark.parametrize(
    "name",
    [
        *("x-api-key", "X-API-Key", "api_key", "apikey", "apiKey", "key", "token", "access_token", "TOKEN"),
        *("api_token", "access-key", "xkey"),
    ],
)
def test_parameters_that_are_meant_to_carry_a_key_are_known_by_name(name: str) -> None:
    assert key_format.is_name(name)
    shown = key_format.hidden(f'"GET /api/v1/videos?page=1&{name}=hunter2&limit=3 HTTP/1.1"')
    assert shown == f'"GET /api/v1/videos?page=1&{name}=…&limit=3 HTTP/1.1"'


@pytest.mark.parametrize(
    "name",
    [
        "api%5Fkey",
        "api%5fkey",
        "%61pi_key",
        "API%2DKEY",
        "%4B%45%59",
        "t%6Fken",
        "%74%6f%6b%65%6e",
        "api%255Fkey",
    ],
)
def test_their_values_are_hidden_however_an_address_has_the_name(name: str) -> None:
    shown = key_format.hidden(f'"GET /api/v1/videos?page=1&{name}=hunter2&limit=3 HTTP/1.1"')
    assert shown == f'"GET /api/v1/videos?page=1&{name}=…&limit=3 HTTP/1.1"'


@pytest.mark.parametrize("name", ["page%5Fkey", "%70age", "api%5Fkeys", "%", "%zz", "%25"])
def test_values_of_other_encoded_names_are_not(name: str) -> None:
    assert key_format.hidden(f"/a?{name}=hunter2") == f"/a?{name}=hunter2"


@pytest.mark.parametrize("form", ["%{:02X}", "%{:02x}", "%25{:02X}", "%2525{:02x}"])
@pytest.mark.parametrize("places", [{7}, set(range(8)), {9}, {20, 30}, set(range(8, 57)), set(range(57))])
def test_a_key_is_hidden_whichever_of_its_characters_are_percent_encoded(form: str, places: set[int]) -> None:
    secret = key_format.generate()
    written = [form.format(ord(each)) if place in places else each for place, each in enumerate(secret)]
    whole = "".join(written)
    for text in (f"GET /a?x={whole} HTTP/1.1", f"/api/v1/videos/{whole}", f"?next={whole[:-1]}&y=1"):
        assert key_format.is_in(text)
        shown = key_format.hidden(text)
        assert "".join(written[:12]) + "…" in shown
        assert "".join(written[12:20]) not in shown
        assert shown.startswith(text.partition(whole[:20])[0])


def test_a_key_is_hidden_in_other_letters_too() -> None:
    secret = key_format.generate().upper()
    assert key_format.hidden(f"/a?x={secret}") == f"/a?x={secret[:12]}…"


def test_long_lines_are_looked_through_quickly() -> None:
    began = time.perf_counter()
    for line in (
        "%25" * 20_000,
        "?" + "&" * 20_000,
        "?a%" * 20_000,
        "?" + "%25" * 20_000 + "=x",
        "takeone_" * 5_000,
    ):
        key_format.hidden(line)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("name", ["page", "cursor", "keyword", "monkey", "tokens", "prefix", ""])
def test_other_parameters_are_not(name: str) -> None:
    assert not key_format.is_name(name)
    assert key_format.hidden(f"/a?{name}=hunter2") == f"/a?{name}=hunter2"


def test_a_key_is_hidden_wherever_it_stands_and_also_half_of_it() -> None:
    secret = key_format.generate()
    for text in (secret, f"a {secret}, b", secret[:32], f"'{secret}'x", f"{secret}\n{secret}"):
        assert key_format.is_in(text)
        shown = key_format.hidden(text)
        assert secret[:12] + "…" in shown
        assert secret[12:20] not in shown


@pytest.mark.parametrize(
    "text", ["takeone_12345", "takeone_e2e_ab12cd34", "the takeone_simulator", "", "a=b"]
)
def test_other_names_of_ours_are_no_keys(text: str) -> None:
    assert not key_format.is_in(text)
    assert key_format.hidden(text) == text


def test_the_docs_have_the_pattern_and_an_example() -> None:
    docs = (ROOT / "docs" / "keys-and-people.md").read_text()
    assert key_format.PATTERN in docs
    assert WHOLE in docs
    assert key_format.is_well_formed(WHOLE)


def test_the_secret_is_kept_as_a_digest_only(owner: User) -> None:
    key, secret = ApiKey.issue(owner, "first")
    key.refresh_from_db()
    assert secret not in str(key.__dict__)
    assert secret[12:] not in str(key.__dict__)
    assert key.prefix == secret[:12]


def test_a_key_is_found_by_its_secret_alone(owner: User) -> None:
    first, secret = ApiKey.issue(owner, "first")
    ApiKey.issue(owner, "second")
    assert ApiKey.of_secret(secret) == first
    assert ApiKey.of_secret(key_format.generate()) is None
    assert ApiKey.of_secret(first.digest) is None


def test_digests_are_compared_in_constant_time(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = ApiKey.issue(owner, "first")
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert ApiKey.of_secret(secret) is None
    assert compared == [(key.digest, key.digest)]


def test_each_scope_includes_those_before_it() -> None:
    included = {scope: [other for other in ApiKey.Scope if scope.includes(other)] for scope in ApiKey.Scope}
    assert included == {
        "read": ["read"],
        "write": ["read", "write"],
        "admin": ["read", "write", "admin"],
    }


@pytest.mark.django_db
def test_the_database_knows_the_scopes(owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first")
    with pytest.raises(IntegrityError, match="api_key_scope_known"):
        ApiKey.objects.filter(pk=key.pk).update(scope="root")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "a\tb", "\u202eltr", "a\u2028b"])
def test_a_name_cannot_disturb_a_terminal(name: str) -> None:
    with pytest.raises(ValidationError):
        key_format.printable(name)


def test_a_key_ends_when_it_expires(owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first", expires_at=timezone.now() + timedelta(seconds=60))
    assert key.status == "active"
    key.expires_at = timezone.now()
    assert key.status == "expired"


def test_revoking_is_said_once_and_keeps_its_time(owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first")
    assert key.revoke()
    at = key.revoked_at
    assert at is not None
    assert key.status == "revoked"
    assert not key.revoke()
    key.refresh_from_db()
    assert key.revoked_at == at


def used(key: ApiKey, seconds_ago: float) -> ApiKey:
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now() - timedelta(seconds=seconds_ago))
    return ApiKey.objects.get(pk=key.pk)


def test_the_use_of_a_key_is_noted_once_a_minute(owner: User, django_assert_num_queries: Any) -> None:
    key, _ = ApiKey.issue(owner, "first")
    key.note_use()
    key.refresh_from_db()
    assert key.last_used_at is not None
    before = timezone.now()
    old = used(key, 61)
    old.note_use()
    old.refresh_from_db()
    assert old.last_used_at is not None
    assert old.last_used_at >= before
    young = used(key, 58)
    with django_assert_num_queries(0):
        young.note_use()


def test_of_requests_in_the_same_moment_one_notes_it(owner: User) -> None:
    key, _ = ApiKey.issue(owner, "first")
    one, other = ApiKey.objects.get(pk=key.pk), ApiKey.objects.get(pk=key.pk)
    one.note_use()
    one.refresh_from_db()
    other.note_use()
    other.refresh_from_db()
    assert one.last_used_at == other.last_used_at


def test_a_use_that_cannot_be_noted_fails_nothing(owner: User, caplog: pytest.LogCaptureFixture) -> None:
    key, secret = ApiKey.issue(owner, "first")

    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise DatabaseError("read-only")
        return execute(sql, *rest)

    with connection.execute_wrapper(away):
        key.note_use()
    assert "read-only" in caplog.text
    assert secret not in caplog.text
