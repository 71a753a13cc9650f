"""Which webhooks are believed: the same ones that OpenAI's SDK believes."""

import base64
import time
from collections.abc import Callable

import openai
import pytest

from tests.webhooks.signing import SECRET, event, headers, signature
from webhooks import signatures
from webhooks.signatures import Refused, verify

BODY = event()
NOW = 1_780_000_000
OTHER = "whsec_" + base64.b64encode(b"another secret").decode()


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 0.75)


def sdk_believes(given: dict[str, str], body: bytes, secret: str) -> bool:
    with openai.OpenAI(api_key="k", webhook_secret=secret) as client:
        try:
            client.webhooks.verify_signature(body, given)
        except (openai.InvalidWebhookSignatureError, ValueError):
            return False
    return True


def we_believe(given: dict[str, str], body: bytes, *secrets: str) -> bool:
    try:
        return verify(given, body, secrets) == given["webhook-id"]
    except Refused:
        return False


def several(*values: str) -> dict[str, str]:
    return {**headers(BODY), "webhook-signature": " ".join(values)}


def right() -> str:
    return signature(BODY, at=NOW)


def wrong() -> str:
    return "v1," + base64.b64encode(bytes(32)).decode()


GOOD: dict[str, Callable[[], dict[str, str]]] = {
    "as it is sent": lambda: headers(BODY),
    "the first of several": lambda: several(right(), wrong()),
    "the last of several": lambda: several(wrong(), "v2,abc", right()),
    "without a version": lambda: several(right().removeprefix("v1,")),
    "299 s old": lambda: headers(BODY, age=299),
    "300 s old": lambda: headers(BODY, age=300),
    "299 s ahead": lambda: headers(BODY, age=-299),
    "300 s ahead": lambda: headers(BODY, age=-300),
}
BAD: dict[str, Callable[[], dict[str, str]]] = {
    "another secret": lambda: headers(BODY, secret=OTHER),
    "another body": lambda: headers(BODY + b" "),
    "another id": lambda: {**headers(BODY), "webhook-id": "wh_2"},
    "another time": lambda: {**headers(BODY), "webhook-timestamp": str(NOW - 1)},
    "no right one among several": lambda: several(wrong(), wrong()),
    "another version": lambda: several(right().replace("v1,", "v2,")),
    "cut short": lambda: several(right()[:-4]),
    "no signature": lambda: several(""),
    "an empty signature": lambda: several("v1,"),
    "301 s old": lambda: headers(BODY, age=301),
    "301 s ahead": lambda: headers(BODY, age=-301),
    "no number": lambda: headers(BODY, at="soon"),
    "no whole number": lambda: headers(BODY, at=f"{NOW}.0"),
    "too many digits": lambda: headers(BODY, at="9" * 5000),
    "the time is empty": lambda: headers(BODY, at=""),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_was_signed_with_the_secret_just_now_is_believed(case: str) -> None:
    given = GOOD[case]()
    assert sdk_believes(given, BODY, SECRET)
    assert we_believe(given, BODY, SECRET)


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_not_believed(case: str) -> None:
    given = BAD[case]()
    assert not sdk_believes(given, BODY, SECRET)
    assert not we_believe(given, BODY, SECRET)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(name: str) -> None:
    given = headers(BODY)
    del given[name]
    assert not sdk_believes(given, BODY, SECRET)
    with pytest.raises(Refused, match="missing"):
        verify(given, BODY, [SECRET])


@pytest.mark.parametrize("secret", [SECRET, "plain-text", "ünïcode"])
def test_a_secret_is_base64_after_its_prefix_or_else_text(secret: str) -> None:
    given = headers(BODY, secret=secret)
    assert sdk_believes(given, BODY, secret)
    assert we_believe(given, BODY, secret)


def test_while_a_secret_is_rotated_both_are_believed() -> None:
    for secret in (SECRET, OTHER):
        assert we_believe(headers(BODY, secret=secret), BODY, OTHER, SECRET)
    assert not we_believe(headers(BODY, secret="a third"), BODY, OTHER, SECRET)


def test_the_body_is_verified_as_it_came() -> None:
    body = b'{"a":\xff}'
    assert we_believe(headers(body), body, SECRET)


def test_a_signature_that_is_not_ascii_is_refused() -> None:
    assert not we_believe(several("v1,ü"), BODY, SECRET)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(signatures.hmac, "compare_digest", compare)
    assert not we_believe(several(right()), BODY, SECRET)
    assert compared == [(right()[3:].encode(),) * 2]
