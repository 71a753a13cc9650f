"""Signed links: each opens one file of one job for a while, without a key, and nothing else."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import ApiKey, User
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.api import fragments
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.results import links
from videos.results.store import store

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos"
NOON = 1_800_000_000


class Clock:
    """The time by which links end."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr(links, "time", clock)
    return clock


@pytest.fixture
def complete(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, settings: Settings, tmp_path: Any
) -> Callable[..., Job]:
    settings.MEDIA_ROOT = tmp_path / "media"

    def complete(**asked: Any) -> Job:
        job = make_job(**asked)
        submit_next(upstream)
        sora.complete(str(only(job).upstream_id))
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        store(only(job), upstream)
        job.refresh_from_db()
        return job

    return complete


@pytest.fixture
def job(complete: Callable[..., Job], clock: Clock) -> Job:
    return complete()


def result(api: Client, job: Job) -> dict[str, str]:
    return dict(api.get(f"{URL}/{job.pk}").json()["data"]["result"])


@pytest.fixture
def other_api() -> Client:
    """A caller with another account."""
    _, secret = ApiKey.issue(User.objects.create_user("stranger"), "key")
    return Client(headers={"x-api-key": secret})


def opened(address: str, **headers: str) -> tuple[int, Any]:
    """What a stranger gets: the status, and the file or the code of the error."""
    return got(Client().get(address, headers=headers))


def got(answer: Any) -> tuple[int, Any]:
    """The status of an answer, and the file or the code of the error."""
    if answer.streaming:
        return answer.status_code, b"".join(answer.streaming_content)
    return answer.status_code, answer.json()["error"]["code"]


def changed(address: str, **query: str) -> str:
    """The link with these of its parts changed; None leaves one out."""
    parts = urlsplit(address)
    pairs = {name: values[0] for name, values in parse_qs(parts.query).items()} | query
    return parts._replace(query=urlencode(pairs)).geturl()


def test_a_link_opens_its_file_for_a_stranger(api: Client, job: Job) -> None:
    shown = result(api, job)
    assert opened(shown["videoUrl"]) == (200, clip())
    assert opened(shown["thumbnailUrl"]) == (200, b"RIFF....WEBP")
    assert opened(shown["videoUrl"], range="bytes=4-7") == (206, b"ftyp")
    head = Client().head(shown["videoUrl"])
    assert (head.status_code, head["Content-Length"]) == (200, str(len(clip())))
    assert head["Access-Control-Allow-Origin"] == "*", "pages of other sites may read it"
    assert got(head)[1] == b""
    refused = Client().get(changed(shown["videoUrl"], signature="x"))
    assert refused["Access-Control-Allow-Origin"] == "*", "and why it is refused"
    assert "Content-Range" in refused["Access-Control-Expose-Headers"]
    with_key = api.get(f"{URL}/{job.pk}/content")
    assert "Access-Control-Allow-Origin" not in with_key
    assert got(with_key)[0] == 200


def test_a_link_ends_after_its_time_and_each_read_has_a_fresh_one(
    api: Client, job: Job, clock: Clock, settings: Settings
) -> None:
    settings.RESULT_URL_TTL = 900
    first = result(api, job)["videoUrl"]
    for passed, status in ((800, 200), (899, 200), (900, 403)):
        clock.now = NOON + passed
        assert opened(first)[0] == status
    assert opened(first) == (403, "link_expired")
    second = result(api, job)["videoUrl"]
    assert opened(second)[0] == 200
    # A link that is shown late in its step is no longer valid than the setting says, and not much shorter.
    for passed in range(0, 91, 9):
        clock.now = NOON + passed
        expires = int(parse_qs(urlsplit(result(api, job)["videoUrl"]).query)["expires"][0])
        assert 810 < expires - clock.now <= 900


@pytest.mark.parametrize("seconds", [1, 2, 9, 11])
def test_a_short_time_is_kept_as_well(
    api: Client, job: Job, clock: Clock, settings: Settings, seconds: int
) -> None:
    settings.RESULT_URL_TTL = seconds
    link = result(api, job)["videoUrl"]
    assert opened(link)[0] == 200
    clock.now = NOON + seconds
    assert opened(link) == (403, "link_expired")


def test_a_list_shows_links_that_still_open(
    api: Client, job: Job, clock: Clock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fragments, "_kept", fragments._Kept(1 << 20))
    settings.RESULT_URL_TTL = 900
    for passed in (0, 50, 899, 5_000):
        clock.now = NOON + passed
        (shown,) = api.get(URL).json()["data"]
        assert shown["result"] == result(api, job)
        assert opened(shown["result"]["videoUrl"])[0] == 200


def test_a_caller_who_asks_whether_a_job_has_changed_is_not_left_with_an_old_link(
    api: Client, job: Job, clock: Clock, settings: Settings
) -> None:
    settings.RESULT_URL_TTL = 900
    tag = api.get(f"{URL}/{job.pk}")["ETag"]
    clock.now = NOON + 45
    assert api.get(f"{URL}/{job.pk}", headers={"if-none-match": tag}).status_code == 304
    clock.now = NOON + 120
    assert api.get(f"{URL}/{job.pk}", headers={"if-none-match": tag}).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "thumbnail"},
        {"expires": str(NOON + 900_000)},
        {"expires": ""},
        {"expires": "soon"},
        {"expires": "-1"},
        {"expires": "٣"},
        {"expires": "9" * 5_000},
        {"signature": ""},
        {"signature": "x" * 43},
        {"signature": "é\x00:"},
        {"signature": "a:b:c"},
    ],
)
def test_a_link_that_was_changed_opens_nothing(api: Client, job: Job, change: dict[str, str]) -> None:
    assert opened(changed(result(api, job)["videoUrl"], **change)) == (403, "link_invalid")


def test_a_link_opens_no_other_job_and_no_other_address(
    api: Client, complete: Callable[..., Job], clock: Clock
) -> None:
    job, other = complete(), complete()
    link = urlsplit(result(api, job)["videoUrl"])
    for path in (f"{URL}/{other.pk}/content", f"{URL}/{uuid4()}/content"):
        assert opened(link._replace(path=path).geturl()) == (403, "link_invalid")
    for path in (f"{URL}/{job.pk}", URL, f"{URL}/{job.pk}/result"):
        assert opened(link._replace(path=path).geturl())[0] == 401
    assert Client().delete(link._replace(path=f"{URL}/{job.pk}").geturl()).status_code == 401
    # The id in capitals is the same id.
    assert opened(link._replace(path=f"{URL}/{str(job.pk).upper()}/content").geturl()) == (200, clip())


@pytest.mark.parametrize(
    "more", ["&variant=thumbnail", "&variant=video", "&signature=x", "&expires=1", "&download=1"]
)
def test_nothing_is_added_to_a_link(api: Client, job: Job, more: str) -> None:
    status, code = opened(result(api, job)["videoUrl"] + more)
    assert (status, code) in {(400, "validation_failed"), (403, "link_invalid")}


def test_a_link_is_no_key_and_half_of_one_is_none(api: Client, job: Job) -> None:
    link = result(api, job)["videoUrl"]
    parts = urlsplit(link)
    query = parse_qs(parts.query)
    for left in ("signature", "expires", "variant"):
        rest = urlencode({name: values[0] for name, values in query.items() if name != left})
        assert opened(parts._replace(query=rest).geturl())[0] in {401, 403}
    assert Client().post(link, content_type="application/json").status_code == 401
    assert Client().delete(link).status_code == 401


def test_a_key_opens_what_an_old_link_names_for_its_owner_alone(
    api: Client, other_api: Client, job: Job, clock: Clock
) -> None:
    link = result(api, job)["videoUrl"]
    assert got(other_api.get(link)) == (200, clip()), "whoever has the link"
    clock.now = NOON + 5_000
    assert got(api.get(link)) == (200, clip())
    assert got(other_api.get(link)) == (404, "not_found")


def test_a_key_that_was_revoked_does_not_close_a_link(api: Client, job: Job) -> None:
    """A program that sends its key with each request can read what it was given."""
    link = result(api, job)["videoUrl"]
    assert opened(link, x_api_key="nonsense")[0] == 200


def test_the_link_of_an_account_that_was_closed_opens_nothing(api: Client, job: Job) -> None:
    link = result(api, job)["videoUrl"]
    User.objects.filter(pk=job.owner_id).update(is_active=False)
    assert opened(link) == (404, "not_found")


def test_the_secret_key_can_be_changed(api: Client, job: Job, settings: Settings) -> None:
    link = result(api, job)["videoUrl"]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of this deployment, as long as it has to be"
    assert opened(link)[0] == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert opened(link) == (403, "link_invalid")


def test_a_job_that_is_not_completed_has_no_link(api: Client, make_job: Callable[..., Job]) -> None:
    job = make_job()
    assert api.get(f"{URL}/{job.pk}").json()["data"]["result"] is None
    made = links.Links.now(f"http://testserver{URL}/").to(job.pk, "video")
    assert opened(made) == (400, "job_not_completed")


def test_links_are_counted_by_address_and_guesses_as_refusals(
    api: Client, job: Job, settings: Settings
) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 5
    settings.RATE_LIMIT_REFUSALS_PER_MINUTE = 3
    link = result(api, job)["videoUrl"]
    assert [opened(link)[0] for _ in range(6)] == [200] * 5 + [429]
    assert [opened(changed(link, signature="x"))[0] for _ in range(4)] == [403] * 3 + [429]


def test_the_address_with_a_key_stays_as_it_is(api: Client, job: Job) -> None:
    for query in ("", "?variant=video", f"?variant=video&expires={NOON}"):
        assert got(api.get(f"{URL}/{job.pk}/content{query}")) == (200, clip())
    assert opened(f"{URL}/{job.pk}/content") == (401, "unauthorized")
