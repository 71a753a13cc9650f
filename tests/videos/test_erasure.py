"""An erased account leaves states, times and sums of money, and not a word of what its owner said."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import ApiKey, Budget, Reservation, Session, User
from batches.archive import archive_batches, archive_their_jobs
from tests.references.test_asked import HD, data_url
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_links import complete
from tests.videos.test_submit import only
from upstreams.clock import shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos import tasks
from videos.erasure import account, archives
from videos.lifecycle.following.sweep import sweep
from videos.models import Exclusion, Job, Submission
from videos.previews.make import make_next
from videos.results.media import MARKER
from videos.results.store import store
from videos.retention.removal import hold_result
from videos.usage.report import usage

__all__ = ["complete"]

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "Sesame"


def everything(settings: Settings) -> str:
    """All rows of all tables, and all that is in the media, as text in lower case."""
    rows = [repr(row) for model in apps.get_models() for row in model._base_manager.values_list()]
    media = (path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file())
    return "\n".join([*rows, *(path.read_bytes().decode("latin-1") for path in media)]).lower()


def money() -> Any:
    """Whatever says what was paid, and for what."""
    paid = ("pk", "price", "cost_state", "state", "upstream_id", "model", "seconds", "ended_at")
    attempts = Submission.objects.order_by("pk").values_list(*paid)
    return list(attempts), list(Reservation.objects.order_by("pk").values_list("pk", "amount", "state"))


def spent(user: User) -> Any:
    day = timezone.now().date()
    # The names of keys go.
    return usage(user, day - timedelta(days=90), day, ["day", "model", "status"])


@pytest.fixture
def user(settings: Settings, tmp_path: Path) -> User:
    settings.MEDIA_ROOT = tmp_path / "media"
    return User.objects.create_user(SECRET, email=f"{SECRET}@example.test", password=SECRET * 3)


@pytest.fixture
def closed(user: User, upstream: Upstream, sora: ScriptedClient, settings: Settings) -> User:
    """An account that has used everything, was closed, and has come to its end."""
    settings.JOB_RETENTION_DAYS = 30
    key, secret = ApiKey.issue(user, SECRET)
    caller = Client(headers={"x-api-key": secret})
    asked = {"prompt": SECRET, "negativePrompt": SECRET, "metadata": {SECRET: SECRET}}

    def ask(address: str, number: int, **body: Any) -> None:
        headers = {"idempotency-key": f"{SECRET}-{number}", "x-request-id": f"{SECRET}-{number}"}
        answer = caller.post(address, body, content_type="application/json", headers=headers)
        assert answer.status_code in {200, 201, 202}, answer.json()

    def run(*, well: bool) -> None:
        while submit_next(upstream):
            pass
        for each in Submission.objects.filter(state="rendering"):
            if well:
                sora.complete(str(each.upstream_id))
            else:
                sora.fail(str(each.upstream_id))
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        for each in Submission.objects.filter(state="rendered"):
            store(each, upstream)
        tasks.count_usage()

    ask("/api/v1/videos", 1, **asked)
    run(well=False)
    Submission.objects.update(error_message=f"No {SECRET}.")
    Job.objects.update(error_message=f"No {SECRET}.", error_details={"said": SECRET})
    ask("/api/v1/videos", 2, **asked, inputReference=data_url(HD))
    batch = {"batchName": SECRET, "metadata": {SECRET: 1}, "videos": [{**asked, "ref": SECRET}]}
    ask("/api/v1/videos/batch", 3, **batch)
    run(well=True)
    while make_next():
        pass
    # What its upstream has rendered last stays in the database, and the rest goes into the archive.
    with shifted(timedelta(days=2)):
        ask("/api/v1/videos", 9, **asked)
        run(well=True)
    with shifted(timedelta(days=31)):
        tasks.archive()
        archive_batches()
        archive_their_jobs()
    written = sorted(path.name.partition("-")[0] for path in Path(settings.MEDIA_ROOT).glob("archive/*/*"))
    assert written == ["batches", "jobs", "jobs"]
    person = Client()
    login = {"username": SECRET, "password": SECRET * 3}
    assert person.post("/api/auth/login", login, content_type="application/json").status_code == 200
    budget = Budget.objects.create(owner=user, period="daily", limit=5)
    for row in (user, key, budget):
        LogEntry.objects.log_actions(user.pk, [row], CHANGE, change_message=SECRET)
    left = Job.objects.filter(owner=user).first()
    Exclusion.objects.create(job=left, provider=Provider.objects.get(), reason=f"No {SECRET}.")
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.refresh_from_db()
    return user


def erase(user: User, *options: str) -> None:
    call_command("erase_account", user.username, "--apply", *options)


def test_nothing_of_it_is_left_but_money(
    closed: User, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert everything(settings).count("sesame") > 10
    before, sums = money(), spent(closed)
    erase(closed)
    left = everything(settings)
    assert "sesame" not in left, left[left.find("sesame") - 300 :][:400]
    assert money() == before
    assert spent(closed) == sums
    closed.refresh_from_db()
    assert (closed.username, closed.is_active) == (f"erased-{closed.pk}", False)
    assert not closed.has_usable_password()
    assert ApiKey.objects.get().revoked_at is not None
    assert not Session.objects.exists()
    folder = Path(settings.MEDIA_ROOT)
    files = [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    assert files == [MARKER], "no video, no picture"
    assert capsys.readouterr().out.endswith(f"the account is erased-{closed.pk} now.\n")
    call_command("check_results", "--min-age", "0")
    erase(closed)


def test_results_may_stay(closed: User, settings: Settings) -> None:
    erase(closed, "--keep-results")
    assert "sesame" not in everything(settings)
    kept = Job.objects.filter(status="completed", removed_at=None)
    assert kept.count() == 1
    assert all(default_storage.exists(str(job.video.name)) for job in kept)
    call_command("check_results", "--min-age", "0")


def test_a_dry_run_changes_nothing(
    closed: User, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(settings)
    call_command("erase_account", SECRET.upper())
    assert everything(settings) == before
    said = capsys.readouterr().out
    assert said.startswith("Would erase: 1 jobs (")
    assert "3 archived jobs" in said


def test_others_are_left_alone(closed: User, settings: Settings, complete: Callable[..., Job]) -> None:
    job = complete(prompt="somebody else's", metadata={"mine": 1})
    events = job.events.count()
    # Of theirs in the same file of the archive.
    path = next(Path(settings.MEDIA_ROOT).glob("archive/*/jobs-*.jsonl"))
    line = json.loads(path.read_text().splitlines()[0])
    theirs = json.dumps({**line, "owner_id": job.owner_id, "prompt": "somebody else's"})
    with path.open("a") as file:
        file.write(theirs + "\n")
    erase(closed)
    job.refresh_from_db()
    assert (job.prompt, job.metadata, job.events.count()) == ("somebody else's", {"mine": 1}, events)
    assert default_storage.exists(str(job.video.name))
    assert path.read_text().splitlines()[-1] == theirs
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_what_is_in_the_way_is_said_first(
    user: User, complete: Callable[..., Job], make_job: Callable[..., Job], upstream: Upstream
) -> None:
    job = complete(by=user, prompt=SECRET)
    waiting = make_job(by=user)

    def refused(words: str) -> None:
        with pytest.raises(CommandError, match=words):
            erase(user)
        assert Job.objects.get(pk=job.pk).prompt == SECRET

    refused("is active: `manage.py cancel --owner Sesame --deactivate --apply`")
    User.objects.filter(pk=user.pk).update(is_active=False)
    refused("1 jobs are open: `manage.py cancel --owner Sesame --apply`")
    User.objects.filter(pk=user.pk).update(is_active=True)
    submit_next(upstream)
    Job.objects.filter(pk=waiting.pk).update(status="cancelled")
    User.objects.filter(pk=user.pk).update(is_active=False)
    refused("1 attempts have not ended upstream")
    Submission.objects.filter(job=waiting).update(state="dropped", due_at=None, cost_state="settled")
    hold_result(job, on_hold=True, by="operator")
    refused(f"on hold: {job.pk}")
    hold_result(job, on_hold=False, by="operator")
    erase(user)
    assert Job.objects.get(pk=job.pk).prompt == ""
    with pytest.raises(CommandError, match="There is no user"):
        call_command("erase_account", SECRET)


@pytest.mark.parametrize("at", ["_erase_jobs", "erase_archived", "_erase_person"])
def test_a_crash_on_the_way_is_made_good_by_the_next_run(
    closed: User, settings: Settings, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(account, at, die)
    with pytest.raises(KeyboardInterrupt):
        erase(closed)
    monkeypatch.undo()
    erase(closed)
    assert "sesame" not in everything(settings)


def test_an_archive_that_was_being_rewritten_is_whole(
    closed: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(archives.os, "fsync", die)
    with pytest.raises(CommandError, match="Run it again"):
        erase(closed)
    monkeypatch.undo()
    settings.JOB_RETENTION_DAYS = 30
    for path in Path(settings.MEDIA_ROOT).glob("archive/*/*.jsonl"):
        assert [json.loads(line) for line in path.read_text().splitlines()]
    erase(closed)
    assert "sesame" not in everything(settings)


def test_a_result_that_cannot_be_removed_now_ends_it_and_is_said(closed: User, settings: Settings) -> None:
    (Path(settings.MEDIA_ROOT) / MARKER).unlink()
    with pytest.raises(CommandError, match=r"not mounted.*Run it again"):
        erase(closed)


def test_its_bytes_leave_the_sums(user: User, complete: Callable[..., Job]) -> None:
    job = complete(by=user)
    tasks.count_usage()
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert account.extent(user).bytes == only(job).job.file_size
    erase(user)
    assert account.extent(user).bytes == 0


def test_a_batch_in_the_archive_whose_jobs_are_not_is_erased_as_well(
    closed: User, settings: Settings
) -> None:
    for path in Path(settings.MEDIA_ROOT).glob("archive/*/jobs-*.jsonl"):
        path.unlink()
    erase(closed)
    assert "sesame" not in everything(settings)


def test_the_archive_has_to_be_there(closed: User, settings: Settings) -> None:
    (Path(settings.MEDIA_ROOT) / MARKER).rename(Path(settings.MEDIA_ROOT) / "elsewhere")
    with pytest.raises(CommandError, match="not mounted"):
        erase(closed, "--keep-results")


def test_an_account_is_erased_before_anything_was_ever_kept(user: User, make_job: Callable[..., Job]) -> None:
    job = make_job(by=user, prompt=SECRET)
    Job.objects.filter(pk=job.pk).update(status="failed", error_code="x")
    User.objects.filter(pk=user.pk).update(is_active=False)
    erase(user)
    job.refresh_from_db()
    assert job.prompt == ""
