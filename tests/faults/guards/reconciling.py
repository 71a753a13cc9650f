"""A create of unknown outcome is found, or proven absent, before another is paid."""

from typing import Final

from tests.faults.guards.guard import Guard

GUARDS: Final = (
    Guard(
        "two attempts at once do the work once",
        "videos.reconciliation.reconcile:reconcile",
        """
        if not submission.claim_due(upstream.lease):
            return
        """,
        "",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "only a match is adopted",
        "videos.reconciliation.reconcile:_matches",
        "upstream.dialect.match_key(video) == key",
        "True",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a video that another submission owns is not adopted",
        "videos.reconciliation.listing:unowned",
        "(video for video in videos.values() if video.id not in owned)",
        "videos.values()",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a match from before the attempt is not adopted",
        "videos.reconciliation.reconcile:_matches",
        "video.created_at is None or video.created_at >= start",
        "True",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "the clocks may differ",
        "videos.reconciliation.listing:attempted",
        "(submission.created_at + low).replace(microsecond=0) - skew",
        "submission.created_at + low",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "absence is proven only after the whole window",
        "videos.reconciliation.reconcile:_schedule",
        "attempts < len(window)",
        "False",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "absence is proven only by a complete search",
        "videos.reconciliation.reconcile:_schedule",
        "not search.complete",
        "False",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "what another attempt may own is waited for",
        "videos.reconciliation.reconcile:_judge",
        "search.unowned and search.contested",
        "False",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a video that nobody owns keeps absence from being proven",
        "videos.reconciliation.reconcile:_judge",
        "not (search.unowned or search.missing or person)",
        "not (search.missing or person)",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a dialect that proves no absence is believed",
        "videos.reconciliation.absence:needs_person",
        "not upstream.dialect.proves_absence",
        "",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "an upstream that echoed or dated otherwise proves no absence",
        "videos.reconciliation.absence:needs_person",
        "not provider.proves_absence",
        "",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "another echo among many answers is remembered",
        "videos.lifecycle.sending.together:_note_echoes",
        "echoes_others or not all(fits)",
        "not all(fits)",
        "tests/videos/test_submit.py -k another_echo",
    ),
    Guard(
        "another echo than was sent is remembered",
        "videos.lifecycle.outcomes:accept",
        "contradicts(video, submission, upstream.dialect) or not dates_agree",
        "not dates_agree",
        "tests/videos/test_submit.py",
    ),
    Guard(
        "an entry that cannot be read keeps a search from being complete",
        "videos.reconciliation.listing:walk",
        'f"{page.unreadable} of its entries cannot be read"',
        '""',
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a notification counts as no search for an unknown create",
        "videos.reconciliation.reconcile:_schedule",
        "attempts = max(attempts, sum(1 for each in window if each <= past))",
        "attempts += 1",
        "tests/webhooks/test_notifications.py",
    ),
    Guard(
        "an operator adopts the video that was asked for",
        "videos.reconciliation.decisions:adopt",
        "video.id != upstream_id",
        "False",
        "tests/videos/test_decide.py",
    ),
    Guard(
        "an operator gives no id that another submission has",
        "videos.reconciliation.decisions:_check_adoptable",
        "owner is not None and owner.owns(video) and not (force and owner.upstream_created_at is None)",
        "False",
        "tests/videos/test_decide.py",
    ),
    Guard(
        "an operator adopts other fields only by force",
        "videos.reconciliation.decisions:_check_adoptable",
        "contradicts(video, submission, upstream.dialect)",
        "False",
        "tests/videos/test_decide.py",
    ),
    Guard(
        "an operator declares absent only what is unknown",
        "videos.reconciliation.decisions:declare_absent",
        'raise Refused(f"{submission}: only what is unknown can be declared absent.")',
        "return False",
        "tests/videos/test_decide.py",
    ),
    Guard(
        "an operator declares lost only what is unknown",
        "videos.reconciliation.decisions:declare_lost",
        'raise Refused(f"{submission}: only what is unknown can be declared lost.")',
        "return",
        "tests/videos/test_decide.py",
    ),
    Guard(
        "a list that breaks off is not at its end",
        "upstreams.client.types:VideoPage.parse",
        "next_after is None and (has_more is True or (entries and has_more is not False))",
        "False",
        "tests/sora/test_types.py",
    ),
    Guard(
        "what lacks an echo matches nothing",
        "upstreams.client.dialects.dialect:Dialect.match_key",
        """
        if value is None:
            return None
        echoed[name] = value
        """,
        'echoed[name] = value or ""',
        "tests/sora/test_dialects.py",
    ),
    Guard(
        "a create that was answered with a 2xx is never called absent",
        "videos.reconciliation.absence:needs_person",
        """
        if submission.create_succeeded:
            return "its create was answered with a 2xx, so it was accepted"
        """,
        "",
        "tests/videos/test_identity.py",
    ),
    Guard(
        "the second absence of a job is a person's decision",
        "videos.reconciliation.absence:needs_person",
        """
        if absences(job):
            return "an earlier attempt for this job seemed absent as well, and both may have been paid"
        """,
        "",
        "tests/videos/test_identity.py tests/videos/test_reconcile.py",
    ),
    Guard(
        "a list that lacks what is ours proves nothing",
        "videos.reconciliation.reconcile:_judge",
        "not (search.unowned or search.missing or person)",
        "not (search.unowned or person)",
        "tests/videos/test_identity.py",
    ),
    Guard(
        "an unknown clock proves no absence",
        "videos.reconciliation.absence:needs_person",
        """
        if submission.clock_low is None:
            return "nothing is known of the upstream's clock"
        """,
        "",
        "tests/videos/test_clock_offset.py",
    ),
    Guard(
        "a clock that was set proves no absence",
        "videos.reconciliation.absence:needs_person",
        "not submission.clock_steady",
        "False",
        "tests/videos/test_clock_offset.py",
    ),
    Guard(
        "a match from shortly before the attempt counts",
        "videos.reconciliation.listing:nearly_attempted",
        "min(attempted(submission)[0], submission.created_at) - NEAR",
        "attempted(submission)[0]",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "a list that cannot be paged proves no absence",
        "videos.reconciliation.listing:walk",
        """
        yield Page(
            (), "it cannot be read beyond its first page", _seen_back_to(first, before), ended=False
        )
        """,
        'yield Page((), "", before, ended=True)',
        "tests/videos/test_lists.py",
    ),
    Guard(
        "an endless list fills no memory",
        "videos.reconciliation.candidates:Candidates.add",
        "len(self._videos) > MAX_CANDIDATES",
        "False",
        "tests/videos/test_lists.py",
    ),
    Guard(
        "an id that names another video is not ours",
        "videos.models.submission:Submission.is_made_at",
        "abs(video.created_at - created_at) < timedelta(seconds=1)",
        "True",
        "tests/videos/test_identity.py",
    ),
    Guard(
        "books that are behind stop all creates",
        "videos.reconciliation.restored.books:may_create",
        """
        if newer:
            _stop(provider, newer)
            return False
        """,
        "",
        "tests/videos/test_recover.py",
    ),
    Guard(
        "the books are compared again after a gap",
        "videos.reconciliation.restored.books:may_create",
        "upstream.name in _checked.names and not _is_stale(provider)",
        "upstream.name in _checked.names",
        "tests/videos/test_recover.py",
    ),
    Guard(
        "a video is given to nobody of several owners",
        "videos.reconciliation.restored.recovery:plan",
        "len({(job.owner_id, job.operation, *_made_of(job)) for job in jobs}) == 1",
        "len({_pictures(job) for job in jobs}) == 1",
        "tests/videos/test_recover.py",
    ),
    Guard(
        "a render is not lost while the list has its video under another id",
        "videos.lifecycle.following.poll:ask",
        "take_listed_id(submission, upstream)",
        "False",
        "tests/videos/test_renamed.py",
    ),
    Guard(
        "a render that another account does not know is not dropped",
        "videos.lifecycle.cancel:_delete",
        "confirms_loss(submission, upstream)",
        "True",
        "tests/videos/test_identity.py",
    ),
)
