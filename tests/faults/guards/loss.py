"""No job, and no result that is paid, is lost."""

from typing import Final

from tests.faults.guards.guard import Guard

GUARDS: Final = (
    Guard(
        "what was accepted has an upstream id (check constraint)",
        "videos.migrations.0001_first_release:",
        """
        models.Q(
            models.Q(
                ("state__in", ["dropped", "dropping", "failed", "lost", "rendered", "rendering", "stored"]),
                _negated=True,
            ),
            ("upstream_id__isnull", False),
            _connector="OR",
        )
        """,
        'models.Q(("id__isnull", False))',
        "tests/videos/test_states.py",
    ),
    Guard(
        "a completed job has a video (check constraint)",
        "videos.migrations.0001_first_release:",
        'models.Q(("video", ""), _negated=True)',
        'models.Q(("video__isnull", False))',
        "tests/videos/test_states.py",
    ),
    Guard(
        "expired leases are judged",
        "videos.queue.dispatch:all_due_work",
        "expire_leases()",
        "",
        "tests/videos/test_submit.py",
    ),
    Guard(
        "a late answer that nobody waits for is settled",
        "videos.lifecycle.outcomes:accept",
        "submission.state == SubmissionState.ABSENT",
        "False",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a late answer for what was given up keeps its id",
        "videos.lifecycle.outcomes:accept",
        "submission.state == SubmissionState.GIVEN_UP and submission.upstream_id is None",
        "False",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "patience asks first",
        "videos.lifecycle.expiry:give_up_expired",
        "past.filter(silent | unlisted | not_ours_to_ask)",
        "past",
        "tests/videos/test_sync.py tests/videos/test_cancel_and_retry.py",
    ),
    Guard(
        "a missing id is lost only after three attempts",
        "videos.reconciliation.missing:is_lost_if_missing",
        "polls >= _POLLS",
        "",
        "tests/videos/test_sync.py",
    ),
    Guard(
        "an id that is seen again was not missing",
        "videos.lifecycle.following.listed:_see_again",
        '"missing_polls"',
        '"faults"',
        "tests/videos/test_sync.py",
    ),
    Guard(
        "a render among many whose job is cancelled meanwhile is dropped",
        "videos.lifecycle.following.completed:_complete",
        "job.status == JobStatus.PROCESSING",
        "True",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "a sweep waits for no row that another one holds",
        "videos.lifecycle.following.listed:_see_again",
        "rendering.select_for_update(skip_locked=True, no_key=True)",
        "rendering.select_for_update(no_key=True)",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "what the list shows is not asked for by itself",
        "videos.lifecycle.following.sweep:_sweep",
        "unseen.exclude(pk__in=read.held)",
        "unseen",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "a sweep goes on where the list failed",
        "videos.lifecycle.following.walk:Walk.read",
        "not self.pages",
        "True",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "pages that are longer than asked for are recorded sooner",
        "videos.lifecycle.following.walk:Walk.read",
        "videos < most * PAGE_LENGTH",
        "True",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "a second video of an id does not hide a render",
        "videos.lifecycle.following.listed:Record.add",
        "reversed(videos[row.upstream_id])",
        "videos[row.upstream_id][-1:]",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "a clock that was set back hides no render from a sweep",
        "videos.lifecycle.following.listed:unseen_in",
        "Q(seen_at__gt=latest)",
        "Q(pk=None)",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "every render is seen in every round",
        "videos.lifecycle.following.sweep:_read_list",
        "poor = 0 if count else poor + 1",
        "poor += 1",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "a file is probed before it is kept",
        "videos.results.keep:fetch_and_keep",
        "probe(path)",
        'Probe(64, 48, 1.0, "mp4", "h264", 8.0, False)',
        "tests/videos/test_store.py",
    ),
    Guard(
        "a job that was cancelled during the download stays cancelled",
        "videos.results.complete:_complete_alone",
        """
        if job.status != JobStatus.PROCESSING and not late:
            return False
        """,
        "",
        "tests/videos/test_store.py tests/videos/test_races.py",
    ),
    Guard(
        "what others are still writing is not cleared away",
        "videos.results.fetch:leftovers",
        "leftover.stat().st_mtime < oldest",
        "True",
        "tests/videos/test_store.py",
    ),
    Guard(
        "a 404 for the file alone does not lose it",
        "videos.results.store:_content_refused",
        "video.phase == Phase.EXPIRED",
        "True",
        "tests/videos/test_store.py",
    ),
    Guard(
        "nobody gives up by a clock that has just jumped",
        "videos.lifecycle.expiry:give_up_if_expired",
        """
        if not has_worked_until(submission.provider, now):
            return
        """,
        "",
        "tests/videos/test_downtime.py",
    ),
    Guard(
        "a file that is about to expire is fetched whatever the back-off",
        "videos.queue.waiting:must_wait",
        "_URGENT",
        "__import__('datetime').timedelta()",
        "tests/videos/test_breaker.py",
    ),
    Guard(
        "nothing is kept where no media is mounted",
        "videos.results.keep:fetch_and_keep",
        "require_mounted(media)",
        "None",
        "tests/videos/test_media.py",
    ),
    Guard(
        "a row on which a journey raises hides no other",
        "videos.queue.isolation:isolated",
        "put_off(row, error)",
        "raise",
        "tests/videos/test_isolation.py",
    ),
    Guard(
        "only what a cancelled job has is dropped",
        "videos.lifecycle.cancel:drop",
        """
        if job.status != JobStatus.CANCELLED:
            return
        """,
        "",
        "tests/videos/test_cancel_and_retry.py",
    ),
    Guard(
        "a batch is accepted as a whole or not at all",
        "batches.lifecycle.create:create_batch",
        "transaction.atomic()",
        '__import__("contextlib").nullcontext()',
        "tests/batches/test_create.py",
    ),
    Guard(
        "a file that is cut short by the deadline is noticed",
        "upstreams.client.files.downloads:_chunks",
        """
        if watch.expired:
            raise Unavailable(f"the file was not complete in time: {received} bytes")
        """,
        "",
        "tests/sora/test_download.py -k deadline",
    ),
    Guard(
        "a page with status 200 is no file",
        "upstreams.client.files.downloads:open_content",
        '"json" in content_type or "html" in content_type',
        "False",
        "tests/sora/test_download.py -k status_200",
    ),
    Guard(
        "a picture that was named just now is not swept",
        "videos.references.sweep:_sweep_rows",
        "used_at__lt=in_database(-UNUSED_SECONDS)",
        "",
        "tests/references/test_asked.py -k swept_after",
    ),
    Guard(
        "a file of a picture with a row is not swept",
        "videos.references.sweep:_sweep_folder",
        'set(old) - set(ReferenceImage.objects.filter(file__in=old).values_list("file", flat=True))',
        "set(old)",
        "tests/references/test_asked.py -k without_a_row_are_swept",
    ),
    Guard(
        "a folder that is not mounted fails no job for its picture",
        "videos.references.load:_picture",
        "media_problem()",
        '""',
        "tests/references/test_asked.py -k not_mounted",
    ),
    Guard(
        "a picture is written before it is named",
        "videos.references.keep:keep",
        "default_storage.exists(found.file)",
        "True",
        "tests/references/test_asked.py -k kept_again",
    ),
    Guard(
        "what somebody still works on is not removed",
        "videos.retention.archive:_may_go",
        "~Exists(attempts.filter(needed))",
        "Q()",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "the last attempts of an upstream are not removed",
        "videos.retention.archive:_may_go",
        "last is not None",
        "False",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "what has ended a while ago only is not removed",
        "videos.retention.archive:archived_before",
        "timedelta(days=days)",
        "timedelta()",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "what cannot be kept is not removed",
        "videos.retention.files:_write",
        "os.fsync(file.fileno())",
        "None",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "a media folder that is not mounted takes no archive",
        "videos.retention.files:_write",
        "require_mounted(known)",
        "None",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "a batch is not removed while a job of it moves",
        "batches.archive:archive_batches",
        "~Exists(recent)",
        "Q()",
        "tests/batches/test_archive.py",
    ),
    Guard(
        "a cancelled job is not completed with others",
        "videos.results.complete:_write",
        "status.get(each.submission.job_id) == JobStatus.PROCESSING",
        "True",
        "tests/videos/test_complete_together.py",
    ),
    Guard(
        "an attempt that is over completes nothing",
        "videos.results.complete:_write",
        "each.submission.pk in pks",
        "True",
        "tests/videos/test_complete_together.py",
    ),
    Guard(
        "what cannot be completed with others is completed alone",
        "videos.results.complete:complete",
        "_complete_alone(submission, kept)",
        "False",
        "tests/videos/test_complete_together.py",
    ),
)
