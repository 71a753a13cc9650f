"""Finding a create of unknown outcome, proving it absent, and giving it up."""

from typing import Final

from tests.faults.guards.guard import Guard

_RECONCILE = "videos/reconciliation/reconcile.py"
_LISTING = "videos/reconciliation/listing.py"
_SUBMIT = "videos/lifecycle/submit.py"
_PATIENCE = "videos/lifecycle/expiry.py"
_TESTS = "tests/videos/test_reconcile.py"
_SYNC = "tests/videos/test_sync.py"
_RETRY = "tests/videos/test_cancel_and_retry.py"

GUARDS: Final = (
    Guard(
        "two attempts at once do the work once",
        _RECONCILE,
        "    if not submission.claim_due(upstream.lease):\n        return\n",
        "",
        _TESTS,
    ),
    Guard(
        "only a match is adopted",
        _RECONCILE,
        "if upstream.dialect.match_key(video) == submission.match_key]",
        "]",
        _TESTS,
    ),
    Guard(
        "of several matches the earliest is adopted",
        _RECONCILE,
        "earliest = min(match",
        "earliest = max(match",
        _TESTS,
    ),
    Guard(
        "a video that another submission owns is not adopted",
        _LISTING,
        "return tuple(video for video in videos.values() if video.id not in owned)",
        "return tuple(videos.values())",
        _TESTS,
    ),
    Guard(
        "a match from before the attempt is not adopted",
        _LISTING,
        "return start <= made and (made <= end or",
        "return (made <= end or",
        _TESTS,
    ),
    Guard(
        "a match from after the lease may be ours",
        _LISTING,
        "(made <= end or dialect.match_key(video) == submission.match_key)",
        "made <= end",
        _TESTS,
    ),
    Guard(
        "a stranger from after the lease is not ours",
        _LISTING,
        "(made <= end or dialect.match_key(video) == submission.match_key)",
        "True",
        _TESTS,
    ),
    Guard(
        "a video without a date may be ours",
        _LISTING,
        "    if made is None:\n        return True\n",
        "    if made is None:\n        return False\n",
        _TESTS,
    ),
    Guard(
        "the clocks may differ",
        _LISTING,
        "start = submission.created_at.replace(microsecond=0) - skew",
        "start = submission.created_at",
        _TESTS,
    ),
    Guard(
        "absence is proven only after the whole window",
        _RECONCILE,
        "    if attempts < len(window):",
        "    if False:",
        _TESTS,
    ),
    Guard(
        "absence is proven only by a complete look",
        _RECONCILE,
        "    elif not look.complete:",
        "    elif False:",
        _TESTS,
    ),
    Guard(
        "what another attempt may own is waited for",
        _RECONCILE,
        "if look.unowned and look.contested:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "a video that nobody owns keeps absence from being proven",
        _RECONCILE,
        "elif look.unowned or not upstream.dialect",
        "elif not upstream.dialect",
        _TESTS,
    ),
    Guard(
        "a dialect that proves no absence is believed",
        _RECONCILE,
        "look.unowned or not upstream.dialect.proves_absence or",
        "look.unowned or",
        _TESTS,
    ),
    Guard(
        "an upstream that echoed or dated otherwise proves no absence",
        _RECONCILE,
        " or not submission.provider.proves_absence:",
        ":",
        _TESTS,
    ),
    Guard(
        "another echo than was sent is remembered",
        _SUBMIT,
        "if submission.match_key != upstream.dialect.match_key(video) or not _dated_within",
        "if not _dated_within",
        "tests/videos/test_submit.py",
    ),
    Guard(
        "a date outside the create is remembered",
        _SUBMIT,
        " or not _dated_within(video, submission, now):",
        ":",
        _TESTS,
    ),
    Guard(
        "an entry that cannot be read keeps a look from being complete",
        _LISTING,
        "        if page.unreadable:",
        "        if False:",
        _TESTS,
    ),
    Guard(
        "a list out of order keeps a look from being complete",
        _LISTING,
        "elif not _newest_first([before, *dated] if before else dated):",
        "elif False:",
        _TESTS,
    ),
    Guard(
        "a list that runs in a circle ends",
        _LISTING,
        "elif page.next_after in passed:",
        "elif False:",
        _TESTS,
    ),
    Guard(
        "without a list a person decides",
        _RECONCILE,
        "    if not upstream.dialect.lists:",
        "    if False:",
        _TESTS,
    ),
    Guard(
        "tries that are answered by errors come to an end",
        _RECONCILE,
        "if submission.answered and refused > settings.SORA_MAX_RETRIES:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "silence alone fails no job",
        _RECONCILE,
        "state=SubmissionState.ABSENT, answered=True, created_at__gte",
        "state=SubmissionState.ABSENT, created_at__gte",
        _TESTS,
    ),
    Guard(
        "a late answer that nobody waits for is settled",
        _SUBMIT,
        "    if submission.state == SubmissionState.ABSENT and (",
        "    if False and (",
        _TESTS,
    ),
    Guard(
        "a late answer for what was given up keeps its id",
        _SUBMIT,
        "    if submission.state == SubmissionState.GIVEN_UP and submission.upstream_id is None:",
        "    if False:",
        _TESTS,
    ),
    Guard(
        "patience ends",
        "videos/queue/dispatch.py",
        "    give_up(upstream)\n",
        "",
        f"{_SYNC} {_RETRY}",
    ),
    Guard(
        "patience asks first",
        _PATIENCE,
        "past.filter(silent | unlisted | fruitless | not_ours_to_ask)",
        "past",
        f"{_SYNC} {_RETRY}",
    ),
    Guard(
        "a silent upstream is waited for an hour longer",
        _PATIENCE,
        "silent_since__lte=in_database(-_SILENCE_SECONDS))",
        "silent_since__lte=in_database())",
        _SYNC,
    ),
    Guard(
        "what was revived in the same moment is not given up",
        _PATIENCE,
        "if submission.state not in _WAITING or submission.give_up_at > now:",
        "if submission.state not in _WAITING:",
        _SYNC,
    ),
)
