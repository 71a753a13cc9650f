"""Neither the key nor a prompt leaves by the log, by an error or by the wrong credential."""

import dataclasses
import json
import logging

import pytest
import responses

from tests.sora.conftest import KEY, PROMPT, REQUEST
from tests.sora.upstream import reply
from upstreams.client.errors import SoraError
from upstreams.client.redaction import Redactor

URL = "https://sora.test/v1/videos"
NEGATIVE = "a canary that is silent"
FULL = dataclasses.replace(REQUEST, negative_prompt=NEGATIVE)
SPELLINGS = (KEY, PROMPT, json.dumps(PROMPT)[1:-1], json.dumps(PROMPT, ensure_ascii=False)[1:-1], NEGATIVE)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG, logger="upstreams.client")
    return lambda: "\n".join(
        record.getMessage() for record in caplog.records if record.name == "upstreams.client"
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"id": "video_1", "prompt": PROMPT, "negative_prompt": NEGATIVE, "key": KEY}},
        {"body": f"{PROMPT} {KEY} {NEGATIVE}"},
        {"status": 400, "json": {"error": {"message": f"{KEY} {PROMPT} {NEGATIVE}"}}},
        {"status": 400, "body": f"<html>{KEY} {PROMPT} {json.dumps(PROMPT)} {NEGATIVE}"},
        {"status": 422, "json": {"detail": [{"msg": "no", "input": {"prompt": PROMPT, "a": [PROMPT]}}]}},
        {"status": 500, "body": f"{KEY} {PROMPT} {NEGATIVE}", "headers": {"Set-Cookie": KEY, "Server": KEY}},
    ],
    ids=["echo", "no JSON", "error", "html", "validation", "headers"],
)
@responses.activate
def test_create_logs_no_secret(make_client, logged, answer):
    dialect = make_client().dialect
    takes_all = dataclasses.replace(dialect, fields={**dialect.fields, "negative_prompt": "negative_prompt"})
    responses.post(URL, **answer)
    shown = ""
    try:
        make_client(dialect=takes_all).create(FULL)
    except SoraError as error:
        shown = str(error)
    shown += logged()
    assert "POST /v1/videos" in shown
    assert "<redacted, 30 characters>" in shown
    for secret in SPELLINGS:
        assert secret not in shown


@responses.activate
def test_lists_log_no_prompt(make_client, logged):
    responses.get(URL, json={"data": [{"id": "video_1", "prompt": "somebody's secret"}]})
    make_client().list()
    assert "video_1" in logged()
    assert "somebody's secret" not in logged()
    assert KEY not in logged()


@responses.activate
def test_what_is_logged(make_client, logged):
    responses.get(f"{URL}/video_1", status=400, body="x" * 5000, headers={"x-request-id": "req_1"})
    with pytest.raises(SoraError):
        make_client().retrieve("video_1")
    text = logged()
    assert "GET /v1/videos/video_1" in text
    assert "answered 400 after " in text
    assert "req_1" in text
    assert "'Authorization': '<redacted>'" in text
    assert "x" * 500 + "…" in text
    assert "x" * 501 not in text


def test_transport_failures_are_logged(make_client, logged):
    with pytest.raises(SoraError):
        make_client("http://nonexistent.invalid/v1").create(REQUEST)
    assert "POST /v1/videos failed after " in logged()
    assert "NameResolutionError" in logged()


def test_signed_links_are_not_logged(serve, make_client, logged):
    storage = serve(reply(200, b"x", Content_Type="video/mp4"))
    upstream = serve(reply(302, b"", Location=f"{storage.url}/file?signature=s3cr3t"))
    with make_client(upstream.url, content_hosts=[f"127.0.0.1:{storage.port}"]).download(
        "video_1"
    ) as content:
        assert list(content.chunks) == [b"x"]
    assert "/v1/file" in logged()
    assert "s3cr3t" not in logged()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("cat", "no <redacted, 3 characters> in category"), ("", "no cat in category")],
)
def test_short_prompts_are_taken_out_as_words(text, shown):
    assert Redactor("", [text]).text("no cat in category") == shown


def test_deep_bodies_do_not_break_the_log():
    assert len(Redactor("k").body(b'{"a":' * 900 + b"1" + b"}" * 900, error=True)) < 200
    assert Redactor("k").body(b"[" * 100_000, error=False) == "<100000 bytes>"


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:hunter2@sora.test/v1",
        "https://hunter2@sora.test/v1",
        "https://sora.test/v1?key=hunter2",
        "https://sora.test/v1#hunter2",
        "ftp://hunter2/v1",
        "hunter2",
        "",
        "https:///v1",
    ],
)
def test_unusable_base_urls(make_client, base_url):
    with pytest.raises(ValueError, match="the base URL must") as caught:
        make_client(base_url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("api_key", ["sk-1\n", "sk 1", "sk-\u00e9", "sk-1\r\nX: y", "\x00"])
def test_unusable_keys(make_client, api_key):
    with pytest.raises(ValueError, match="API key") as caught:
        make_client(api_key=api_key)
    assert api_key not in str(caught.value)


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    path = tmp_path / "netrc"
    path.write_text("machine sora.test login somebody password else\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@responses.activate
def test_netrc_does_not_win_over_the_key(make_client, netrc):
    responses.post(URL, json={"id": "video_1"})
    make_client().create(REQUEST)
    assert responses.calls[0].request.headers["Authorization"] == f"Bearer {KEY}"


@responses.activate
def test_without_a_key_no_credential_is_sent(make_client, netrc):
    responses.post(URL, json={"id": "video_1"})
    make_client(api_key="").create(REQUEST)
    assert "Authorization" not in responses.calls[0].request.headers


@responses.activate
def test_cookies_are_not_kept(make_client):
    responses.get(f"{URL}/video_1", json={"id": "video_1"}, headers={"Set-Cookie": "a=b"})
    client = make_client()
    client.retrieve("video_1")
    client.retrieve("video_1")
    assert "Cookie" not in responses.calls[1].request.headers


@pytest.mark.parametrize("base_url", ["https://sora.test/v1", "https://sora.test/v1/"])
@responses.activate
def test_a_trailing_slash_does_not_matter(make_client, base_url):
    responses.get(f"{URL}/video_1", json={"id": "video_1"})
    assert make_client(base_url).retrieve("video_1").id == "video_1"
