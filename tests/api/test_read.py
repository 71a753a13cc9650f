import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import ApiKey, User
from tests.api.test_create import problem
from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from upstreams.client import errors
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.results.store import store

pytestmark = pytest.mark.django_db

URL = "/api/v1/videos"
MakeJob = Callable[..., Job]


@pytest.fixture
def completed(job: Job, upstream: Upstream, sora: ScriptedClient) -> Job:
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    store(job.submissions.get(), upstream)
    job.refresh_from_db()
    return job


def post(api: Client, address: str, **more: Any) -> Any:
    return api.post(f"{URL}{address}", content_type="application/json", **more)


def get(api: Client, address: str, **params: Any) -> Any:
    response = api.get(f"{URL}{address}", params)
    assert response.status_code == 200, response.content
    assert response.json()["success"] is True
    return response.json()


def test_a_pending_job_shows_all_that_is_known(api: Client, job: Job) -> None:
    shown = get(api, f"/{job.pk}")["data"]
    assert set(shown) == {
        "id", "status", "stage", "prompt", "negativePrompt", "duration", "resolution", "aspectRatio", "size",
        "fps", "seed", "audio", "extra", "inputReference", "lastFrame", "imageFit",
        "style", "model", "operation", "sourceJobId", "priority", "metadata", "retainFor", "adjustments",
        "progress",
        "soraJobId", "submitted",
        "cost", "result", "error", "overdue", "batchId", "ref", "waiting", "queuePosition",
        "estimatedCompletionAt", "estimatedCompletionBy", "createdAt", "updatedAt", "startedAt",
        "completedAt",
    }  # fmt: skip
    assert (shown["status"], shown["stage"], shown["submitted"], shown["soraJobId"]) == (
        "pending",
        None,
        None,
        None,
    )
    assert shown["cost"] == {"estimated": "0.40", "settled": "0.00", "currency": "USD"}
    assert shown["queuePosition"] == 1
    assert shown["waiting"] == {"reason": "queue", "since": shown["createdAt"], "until": None, "detail": None}
    assert shown["estimatedCompletionAt"] is shown["estimatedCompletionBy"] is None


def test_a_job_in_work_shows_what_was_sent_and_where_it_stands(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    shown = get(api, f"/{job.pk}")["data"]
    assert (shown["status"], shown["stage"]) == ("processing", "rendering")
    assert [shown["soraJobId"]] == list(sora.videos)
    assert shown["submitted"] == {
        "provider": "scripted",
        "model": "sora-2",
        "seconds": "4",
        "size": "1280x720",
        "attempt": 1,
    }


def test_a_result_is_there_once_the_job_is_completed(api: Client, completed: Job) -> None:
    shown = get(api, f"/{completed.pk}/result")["data"]
    for name, variant in (("videoUrl", "video"), ("thumbnailUrl", "thumbnail")):
        address, _, query = shown["result"].pop(name).partition("?")
        assert address == f"http://testserver/api/v1/videos/{completed.pk}/content"
        assert query.startswith(f"variant={variant}&expires=")
    assert shown["result"] == {
        "duration": 1.0,
        "width": 64,
        "height": 48,
        "fps": 8.0,
        "codec": "h264",
        "audio": False,
        "format": "mp4",
        "sha256": hashlib.sha256(clip()).hexdigest(),
        "keptUntil": None,
        "removedAt": None,
        "onHold": False,
        # They are made some seconds later.
        **dict.fromkeys(("posterUrl", "posterWebpUrl", "spritesheetUrl", "vttUrl", "previewUrl")),
        "differences": [
            {"field": "duration", "submitted": 4.0, "found": 1.0},
            {"field": "size", "submitted": "1280x720", "found": "64x48"},
        ],
        "fileSize": len(clip()),
    }
    assert shown["cost"]["settled"] == "0.40"
    assert shown["stage"] is None
    assert shown["completedAt"] is not None


def test_before_that_it_is_400(api: Client, job: Job) -> None:
    for address in ("result", "content"):
        response = api.get(f"{URL}/{job.pk}/{address}")
        assert response.status_code == 400
        error = problem(response)
        assert (error["code"], error["details"]) == ("job_not_completed", {"status": "pending"})


def test_the_file_is_served_to_its_owner(api: Client, completed: Job) -> None:
    response = api.get(f"{URL}/{completed.pk}/content", headers={"accept": "video/mp4"})
    assert (response.status_code, response["Content-Type"]) == (200, "video/mp4")
    assert b"".join(response.streaming_content) == clip()  # type: ignore[arg-type]
    thumbnail = api.get(f"{URL}/{completed.pk}/content?variant=thumbnail")
    assert thumbnail["Content-Type"] == "image/webp"
    assert b"".join(thumbnail.streaming_content) == b"RIFF....WEBP"  # type: ignore[arg-type]
    assert api.get(f"{URL}/{completed.pk}/content?variant=spritesheet").status_code == 400


def test_a_head_has_the_headers_of_a_get_and_no_body(api: Client, completed: Job) -> None:
    job = api.head(f"{URL}/{completed.pk}")
    assert (job.status_code, job.content) == (200, b"")
    assert job["Content-Length"] == str(len(api.get(f"{URL}/{completed.pk}").content))
    file = api.head(f"{URL}/{completed.pk}/content")
    assert (file["Content-Length"], b"".join(file.streaming_content)) == (str(len(clip())), b"")


def test_a_failure_says_why(api: Client, job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    submit_next(upstream)
    sora.fail(str(job.submissions.get().upstream_id))
    sweep(upstream)
    error = get(api, f"/{job.pk}")["data"]["error"]
    assert (error["code"], error["message"], error["details"]) == (
        "moderation_blocked",
        "Your request was blocked.",
        None,
    )
    assert error["timestamp"].endswith("Z")


def test_an_unchanged_job_is_304(api: Client, job: Job) -> None:
    first = api.get(f"{URL}/{job.pk}")
    assert int(first["Retry-After"]) >= 1
    again = api.get(f"{URL}/{job.pk}", headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Job.objects.filter(pk=job.pk).update(progress=5)
    assert api.get(f"{URL}/{job.pk}", headers={"if-none-match": first["ETag"]}).status_code == 200


def test_a_finished_job_hints_no_further_polling(api: Client, completed: Job) -> None:
    assert "Retry-After" not in api.get(f"{URL}/{completed.pk}")


def test_a_job_past_its_expected_time_is_flagged_and_goes_on(
    api: Client, job: Job, settings: Settings
) -> None:
    assert get(api, f"/{job.pk}")["data"]["overdue"] is False
    settings.JOB_OVERDUE_AFTER = 1
    Job.objects.filter(pk=job.pk).update(asked_at=timezone.now() - timedelta(seconds=5))
    shown = get(api, f"/{job.pk}")["data"]
    assert (shown["overdue"], shown["status"]) == (True, "pending")


@pytest.mark.parametrize("address", ["", "/result", "/content"])
@pytest.mark.parametrize("job_id", ["0195f8a2-c3d4-7e1f-8a2b-000000000000", "no-uuid", "1", "%00", "..%2f"])
def test_an_unknown_job_is_404(api: Client, job_id: str, address: str) -> None:
    response = api.get(f"{URL}/{job_id}{address}")
    assert response.status_code == 404
    assert problem(response)["code"] == "not_found"


def test_another_owners_job_is_404_for_every_operation(api: Client, make_job: MakeJob) -> None:
    theirs = make_job(by=User.objects.create_user("grace"))
    for method, address in (
        ("get", ""),
        ("get", "/result"),
        ("get", "/content"),
        ("delete", ""),
        ("post", "/retry"),
        ("post", "/sync"),
    ):
        answer = api.generic(method.upper(), f"{URL}/{theirs.pk}{address}")
        assert answer.status_code == 404
    assert get(api, "")["data"] == []
    theirs.refresh_from_db()
    assert theirs.status == "pending"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
def test_without_a_known_key_it_is_401(job: Job, headers: dict[str, str]) -> None:
    response = Client(headers=headers).get(f"{URL}/{job.pk}")
    assert response.status_code == 401
    assert problem(response)["code"] == "unauthorized"
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_bearer_token_is_as_good_as_the_header(api: Client, job: Job, secret: str) -> None:
    response = Client(headers={"authorization": f"bearer {secret}"}).get(f"{URL}/{job.pk}")
    assert response.status_code == 200


def test_a_key_of_an_inactive_owner_is_unknown(api: Client, owner: User) -> None:
    User.objects.update(is_active=False)
    assert api.get(URL).status_code == 401


def test_the_key_is_kept_as_a_digest_only(secret: str) -> None:
    key = ApiKey.objects.get()
    assert secret not in str(key.__dict__)
    assert key.prefix == secret[:12]


def test_lists_are_filtered_and_newest_first(api: Client, make_job: MakeJob, upstream: Upstream) -> None:
    jobs = [make_job(priority=priority) for priority in ("low", "high", "normal")]
    submit_next(upstream)
    ids = [str(job.pk) for job in reversed(jobs)]
    assert [shown["id"] for shown in get(api, "")["data"]] == ids
    assert [shown["id"] for shown in get(api, "", status="processing")["data"]] == [str(jobs[1].pk)]
    assert [shown["id"] for shown in get(api, "", priority="low")["data"]] == [str(jobs[0].pk)]
    middle = jobs[1].created_at.isoformat()
    assert [shown["id"] for shown in get(api, "", createdAfter=middle)["data"]] == ids[:2]
    assert [shown["id"] for shown in get(api, "", createdBefore=middle)["data"]] == ids[2:]


def test_pages_and_cursors_show_each_job_once(api: Client, make_job: MakeJob) -> None:
    made = [str(make_job().pk) for _ in range(5)][::-1]
    pages = [get(api, "", page=page, limit=2) for page in (1, 2, 3)]
    assert [shown["id"] for page in pages for shown in page["data"]] == made
    assert pages[0]["pagination"] == {
        "page": 1,
        "limit": 2,
        "total": 5,
        "totalIsCut": False,
        "totalPages": 3,
        "hasMore": True,
        "nextCursor": made[1],
    }
    assert (pages[2]["pagination"]["hasMore"], pages[2]["pagination"]["nextCursor"]) == (False, None)
    make_job()
    rest = get(api, "", cursor=made[1], limit=10)
    assert [shown["id"] for shown in rest["data"]] == made[2:]
    assert rest["pagination"]["page"] is None


def test_counting_stops_and_says_so(api: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videos.api.queries.MAX_COUNT", 3)
    for _ in range(5):
        make_job()
    pagination = get(api, "", limit=2)["pagination"]
    assert (pagination["total"], pagination["totalIsCut"], pagination["totalPages"]) == (3, True, 2)


@pytest.mark.parametrize(
    "query",
    [
        "page=0", "page=x", "limit=0", "limit=101", "status=lost", "status=%00", "priority=urgent",
        "createdAfter=yesterday", "createdAfter=%00", "cursor=x",
        "page=1&cursor=0195f8a2-c3d4-7e1f-8a2b-000000000000",
        "page=501&limit=20", "page=99999999999999999999", "colour=red", "batchId=1",
    ],
)  # fmt: skip
def test_a_bad_query_is_400_and_named(api: Client, query: str) -> None:
    response = api.get(f"{URL}?{query}")
    assert response.status_code == 400
    error = problem(response)
    assert error["code"] == "validation_failed"
    assert error["details"][0]["field"] == query.split("=")[0]


def test_a_list_costs_the_same_queries_however_long_it_is(
    api: Client,
    make_job: MakeJob,
    upstream: Upstream,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(10):
        make_job()
        submit_next(upstream)
    # Four of them run and six wait; the queue was counted by an earlier read.
    get(api, "")
    with django_assert_max_num_queries(10):
        assert len(get(api, "")["data"]) == 10


@pytest.mark.parametrize(
    ("method", "address"),
    [("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/retry"), ("POST", "/sync")],
)
def test_what_a_call_does_not_take_is_refused_by_name(
    api: Client, job: Job, method: str, address: str
) -> None:
    asked = api.generic(method, f"{URL}/{job.pk}{address}?force=1")
    assert (asked.status_code, problem(asked)["details"][0]["field"]) == (400, "force")
    if method != "GET":
        sent = api.generic(method, f"{URL}/{job.pk}{address}", b'{"force": 1}', "application/json")
        assert (sent.status_code, problem(sent)["details"][0]["field"]) == (400, "force")
        garbage = api.generic(method, f"{URL}/{job.pk}{address}", b"{", "application/json")
        assert problem(garbage)["code"] == "malformed_body"
    job.refresh_from_db()
    assert job.status == "pending"


def test_a_file_that_went_missing_is_said(api: Client, completed: Job) -> None:
    completed.video.storage.delete(str(completed.video.name))
    response = api.get(f"{URL}/{completed.pk}/content")
    assert response.status_code == 410
    assert problem(response)["code"] == "file_missing"


def test_cancel_answers_what_became_of_it(api: Client, job: Job) -> None:
    response = api.delete(f"{URL}/{job.pk}")
    assert response.status_code == 200
    data = response.json()["data"]
    assert (data["jobId"], data["status"]) == (str(job.pk), "cancelled")
    assert data["message"] == "Nothing runs upstream for it."
    again = api.delete(f"{URL}/{job.pk}")
    assert again.status_code == 409
    error = problem(again)
    assert (error["code"], error["details"]) == ("job_not_cancellable", {"status": "cancelled"})


def test_retry_puts_a_cancelled_job_back(api: Client, job: Job) -> None:
    assert post(api, f"/{job.pk}/retry").status_code == 409
    api.delete(f"{URL}/{job.pk}")
    response = post(api, f"/{job.pk}/retry")
    assert (response.status_code, response.json()["data"]["status"]) == (200, "pending")


def test_sync_asks_the_upstream_at_once(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    assert post(api, f"/{job.pk}/sync").json()["data"]["status"] == "pending"
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    shown = post(api, f"/{job.pk}/sync").json()["data"]
    assert (shown["status"], shown["stage"]) == ("processing", "rendered")


def test_sync_of_a_silent_upstream_is_503_and_loses_nothing(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    sora.retrieve_error = errors.Unavailable("502", retry_after=7)
    response = post(api, f"/{job.pk}/sync")
    assert (response.status_code, response["Retry-After"]) == (503, "7")
    assert problem(response)["code"] == "upstream_unavailable"
    job.refresh_from_db()
    assert job.status == "processing"


def test_sync_of_a_finished_job_is_409(api: Client, completed: Job) -> None:
    response = post(api, f"/{completed.pk}/sync")
    assert response.status_code == 409
    assert problem(response)["code"] == "job_not_syncable"


def test_reads_do_not_touch_the_upstream(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    get(api, f"/{job.pk}")
    get(api, "")
    assert (sora.lists, sora.retrieves) == (0, 0)


@pytest.mark.parametrize(("method", "address"), [("put", ""), ("patch", ""), ("options", ""), ("delete", "")])
def test_an_unsupported_method_is_405(api: Client, method: str, address: str) -> None:
    response = getattr(api, method)(f"{URL}{address}")
    assert response.status_code == 405
    assert problem(response)["code"] == "method_not_allowed"


def test_a_cache_that_forgets_limits_nobody(
    api: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_usage(*_: Any, **__: Any) -> dict[str, Any]:
        return {"count": 0, "limit": 0, "should_limit": True, "time_left": -1}

    settings.RATE_LIMIT_READS_PER_MINUTE = 1
    monkeypatch.setattr("accounts.limits.throttles.get_usage", get_usage)
    assert [api.get(URL).status_code for _ in range(3)] == [200, 200, 200]


def test_too_many_calls_are_429_with_the_wait(api: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_READS_PER_MINUTE = 2
    statuses = [api.get(URL).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    response = api.get(URL)
    assert 1 <= int(response["Retry-After"]) <= 61
    assert problem(response)["code"] == "rate_limited"


def test_an_id_in_capitals_is_the_same_id(api: Client, job: Job) -> None:
    assert get(api, f"/{str(job.pk).upper()}")["data"]["id"] == str(job.pk)
    answer = api.get(f"/api/videos/{str(job.pk).upper()}")
    assert answer.status_code != 404
    assert api.get(f"{URL}/{job.pk}0").status_code == 404


@pytest.mark.parametrize("address", ["?limit=1&limit=2", "?status=failed&status=pending", "?limit=1&limit=1"])
def test_a_parameter_that_is_there_twice_is_refused(api: Client, address: str) -> None:
    response = api.get(f"{URL}{address}")
    assert response.status_code == 400
    (problem_,) = problem(response)["details"]
    assert problem_["field"] == address[1:].split("=")[0]
    assert "more than once" in problem_["message"]


@pytest.mark.parametrize(
    "address",
    ["/api/v1/batches?limit=1&limit=2", "/api/v1/usage?by=key&by=day", "/api/v1/models?a=1&a=2"],
)
def test_nowhere_does_the_last_of_two_win(api: Client, address: str) -> None:
    assert "more than once" in problem(api.get(address))["message"]


def test_nor_in_the_address_of_an_upload(api: Client) -> None:
    address = "/api/v1/batches?prompt=one&prompt=two"
    response = api.generic("POST", address, "seed\n1\n", "text/csv")
    assert response.status_code == 400
    assert "more than once" in problem(response)["message"]


def test_a_plus_that_was_not_escaped_is_one(api: Client, job: Job) -> None:
    made = job.created_at.astimezone(timezone.get_fixed_timezone(120))
    shown = made.replace(microsecond=0).isoformat()
    assert shown.endswith("+02:00")
    (found,) = get_raw(api, f"?createdAfter={shown}")
    assert found["id"] == str(job.pk)
    later = (made + timedelta(minutes=1)).isoformat()
    assert get_raw(api, f"?createdAfter={later}") == []


def get_raw(api: Client, address: str) -> Any:
    response = api.get(f"{URL}{address}")
    assert response.status_code == 200, response.content
    return response.json()["data"]


def test_a_seed_of_minus_one_is_a_random_one(api: Client, upstream: Upstream) -> None:
    asked = {"prompt": "a boat", "seed": -1}
    made = api.post(URL, asked, content_type="application/json").json()["data"]
    assert made["adjustments"] == []
    assert Job.objects.get(pk=made["jobId"]).seed is None
    made = api.post(URL, asked | {"seed": 2**63 - 1}, content_type="application/json")
    assert made.status_code == 201
    body = {"defaults": {"seed": 7}, "videos": [{"prompt": "one"}, {"prompt": "two", "seed": -1}]}
    assert api.post(f"{URL}/batch", body, content_type="application/json").status_code == 201
    assert list(Job.objects.order_by("id").values_list("seed", flat=True)) == [None, 2**63 - 1, 7, None]
