"""What follows once a render is accepted: sync, store, cancel, retry."""

from typing import Final

from tests.faults.guards.guard import Guard

_SYNC = "videos/lifecycle/sync.py"
_STORE = "videos/results/store.py"
_CANCEL = "videos/lifecycle/cancel.py"
_RETRY = "videos/lifecycle/retry.py"
_SYNC_TESTS = "tests/videos/test_sync.py"
_STORE_TESTS = "tests/videos/test_store.py"
_CANCEL_TESTS = "tests/videos/test_cancel_and_retry.py"

GUARDS: Final = (
    Guard(
        "one sweep at a time",
        _SYNC,
        "    if not leased:\n        return\n",
        "",
        _SYNC_TESTS,
    ),
    Guard(
        "progress never goes back",
        _SYNC,
        "video.progress > submission.job.progress",
        "True",
        _SYNC_TESTS,
        ((", progress__lt=progress)", ")"),),
    ),
    Guard(
        "a missing id is lost only after three attempts",
        _SYNC,
        "if attempts < _MISSING_LOOKS or (now",
        "if (now",
        _SYNC_TESTS,
    ),
    Guard(
        "a missing id is lost only after two minutes",
        _SYNC,
        " or (now - since).total_seconds() < _MISSING_SECONDS:",
        ":",
        _SYNC_TESTS,
    ),
    Guard(
        "an id that is seen again was not missing",
        _SYNC,
        "if submission.missing_polls or submission.silent_since is not None:",
        "if submission.silent_since is not None:",
        _SYNC_TESTS,
    ),
    Guard(
        "one that cannot be asked after hides no other",
        _SYNC,
        '            logger.warning("%s could not be asked after: %s", submission, error)\n',
        "            raise\n",
        _SYNC_TESTS,
    ),
    Guard(
        "what a list showed before it broke off is taken",
        _SYNC,
        "        failed = True\n",
        "        failed, seen = True, {}\n",
        f"{_SYNC_TESTS} -k broke_off",
    ),
    Guard(
        "without a list renders are asked after one by one",
        _SYNC,
        "    asked = _ask_stragglers(due[:_MAX_STRAGGLERS], upstream, away=failed)\n",
        "    asked = _ask_stragglers([] if failed else due[:_MAX_STRAGGLERS], upstream, away=failed)\n",
        _SYNC_TESTS,
    ),
    Guard(
        "an upstream that is away is not asked after each render",
        _SYNC,
        "            if away:\n                break\n",
        "",
        _SYNC_TESTS,
    ),
    Guard(
        "a sweep comes after a pause where the list failed",
        _SYNC,
        "            pause = _ASK_AGAIN_SECONDS\n",
        "            pass\n",
        _SYNC_TESTS,
    ),
    Guard(
        "a sweep puts off nothing that is to be stopped",
        _SYNC,
        "rendering.exclude(job__status=JobStatus.CANCELLED) if upstream.dialect.cancels else rendering",
        "rendering",
        _SYNC_TESTS,
    ),
    Guard(
        "a render that was given up is missing only after three attempts",
        _SYNC,
        "    if submission.state not in {SubmissionState.RENDERING, SubmissionState.GIVEN_UP}:\n",
        "    if submission.state == SubmissionState.GIVEN_UP:\n"
        "        Submission.objects.filter(pk=submission.pk).update(due_at=None)\n"
        "    if submission.state != SubmissionState.RENDERING:\n",
        _SYNC_TESTS,
    ),
    Guard(
        "a late success is kept only by a job that was given up",
        _SYNC,
        '        and job.error_code == "gave_up"\n',
        "",
        _SYNC_TESTS,
    ),
    Guard(
        "a late success is kept only where nothing else runs",
        _SYNC,
        "        and not job.submissions.filter(state__in=LIVE).exists()\n    )",
        "    )",
        _SYNC_TESTS,
    ),
    Guard(
        "late attempts come to an end",
        _SYNC,
        "if (database_now() - submission.give_up_at).total_seconds() > settings.JOB_GIVE_UP_AFTER:",
        "if False:",
        _SYNC_TESTS,
    ),
    Guard(
        "the render of a cancelled job is dropped, not kept",
        _SYNC,
        "    if job.status == JobStatus.CANCELLED:\n        submission.move(\n",
        "    if False:\n        submission.move(\n",
        _SYNC_TESTS,
    ),
    Guard(
        "what expired after its job was cancelled is settled",
        _SYNC,
        "        if video.phase == Phase.EXPIRED:\n",
        "        if False:\n",
        _SYNC_TESTS,
    ),
    Guard(
        "two workers store once",
        _STORE,
        "if not submission.claim_due(upstream.lease):",
        "if False:",
        _STORE_TESTS,
    ),
    Guard(
        "a fetch that goes on keeps its lease",
        _STORE,
        "if time.monotonic() - renewed > _RENEW_SECONDS:",
        "if False:",
        _STORE_TESTS,
    ),
    Guard(
        "a fetch that goes on puts no drop off",
        _STORE,
        "fetching.exclude(job__status=JobStatus.CANCELLED).update(",
        "fetching.update(",
        _STORE_TESTS,
    ),
    Guard(
        "a file is probed before it is kept",
        _STORE,
        "found = probe(path)",
        'found = Probe(64, 48, 1.0, "mp4")',
        _STORE_TESTS,
    ),
    Guard(
        "a job that was cancelled during the download stays cancelled",
        _STORE,
        "        if job.status != JobStatus.PROCESSING and not late:\n            return False\n",
        "",
        f"{_STORE_TESTS} tests/videos/test_races.py",
    ),
    Guard(
        "a file that nobody wants any more is deleted",
        _STORE,
        "                default_storage.delete(kept)",
        "                pass",
        _STORE_TESTS,
    ),
    Guard(
        "each try has a draft of its own",
        _STORE,
        '    number, name = tempfile.mkstemp(prefix=f"{submission.pk}-", dir=folder)\n    os.close(number)\n',
        '    name = str(folder / f"{submission.pk}-draft")\n    Path(name).touch()\n',
        _STORE_TESTS,
    ),
    Guard(
        "what others are still writing is not cleared away",
        _STORE,
        "if leftover.stat().st_mtime < oldest:",
        "if True:",
        _STORE_TESTS,
    ),
    Guard(
        "a file has a largest size",
        _STORE,
        "if got > settings.SORA_DOWNLOAD_MAX_BYTES:",
        "if False:",
        _STORE_TESTS,
    ),
    Guard(
        "fetching ends with our patience",
        _STORE,
        "    if submission.give_up_at <= now:",
        "    if False:",
        _STORE_TESTS,
    ),
    Guard(
        "a 404 for the file alone does not lose it",
        _STORE,
        "    if gone:\n",
        "    if True:\n",
        _STORE_TESTS,
    ),
    Guard(
        "a video that is unknown upstream is lost only after two minutes",
        _STORE,
        "(now - submission.missing_since).total_seconds() >= _MISSING_SECONDS",
        "True",
        _STORE_TESTS,
    ),
    Guard(
        "only what a cancelled job has is dropped",
        _CANCEL,
        "            if job.status != JobStatus.CANCELLED:\n                return\n",
        "",
        _CANCEL_TESTS,
    ),
    Guard(
        "a drop is claimed once",
        _CANCEL,
        "    if not submission.claim_due(upstream.lease):\n        return\n",
        "",
        _CANCEL_TESTS,
    ),
    Guard(
        "a drop is committed before the DELETE",
        _CANCEL,
        "            if not submission.move(_S.DROPPING, only_from=allowed, due_at=due, attempts=0):\n"
        "                return\n",
        "            submission.state = _S.DROPPING\n",
        _CANCEL_TESTS,
    ),
    Guard(
        "an upstream that never drops is left alone in the end",
        _CANCEL,
        "if submission.attempts + 1 < _MAX_TRIES:",
        "if True:",
        _CANCEL_TESTS,
    ),
    Guard(
        "a retry goes on with a render that still runs",
        _RETRY,
        "    if job.submissions.filter(state__in=attached).exists():",
        "    if False:",
        _CANCEL_TESTS,
    ),
    Guard(
        "a retry revives what was given up with an id",
        _RETRY,
        "state=SubmissionState.GIVEN_UP, upstream_id__isnull=False, provider",
        "state=SubmissionState.GIVEN_UP, upstream_id__isnull=True, provider",
        _CANCEL_TESTS,
    ),
    Guard(
        "a retry revives nothing that has no id",
        _RETRY,
        "state=SubmissionState.GIVEN_UP, upstream_id__isnull=False, provider",
        "state=SubmissionState.GIVEN_UP, provider",
        _CANCEL_TESTS,
    ),
    Guard(
        "a retry revives nothing that another upstream has",
        _RETRY,
        "upstream_id__isnull=False, provider__name=upstream.name\n",
        "upstream_id__isnull=False\n",
        _CANCEL_TESTS,
    ),
    Guard(
        "a retry waits for what another upstream may still be paid for",
        _RETRY,
        "        if live is not None and live.provider.name != upstream.name:\n",
        "        if False:\n",
        _CANCEL_TESTS,
    ),
    Guard(
        "what is revived is waited for anew",
        _RETRY,
        "        give_up_at=now + timedelta(seconds=settings.JOB_GIVE_UP_AFTER),\n",
        "",
        _CANCEL_TESTS,
    ),
)
