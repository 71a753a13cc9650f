"""Searches the upstream's list for a create of unknown outcome: it is found, or proven absent."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.clock_offset import Offset
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.expiry import give_up_if_expired, record_contact
from videos.lifecycle.outcomes import accept
from videos.models import Job, Submission, locked
from videos.reconciliation.absence import is_past_window, needs_person, record_absent
from videos.reconciliation.candidates import Candidates
from videos.reconciliation.compared import has_rival
from videos.reconciliation.listing import NEAR, attempted, nearly_attempted, walk
from videos.reconciliation.restored.identity import Expected, doubt, knows_us, shows_no_old_one
from videos.states import UNDECIDED, SubmissionState

logger = logging.getLogger(__name__)

# Between attempts that could not be finished.
_AGAIN_SECONDS = 5
# After the last search of the window, while something on the list still prevents the proof of absence.
_LINGER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class _Search:
    """The videos on the list that the attempt may have become, from one search."""

    complete: bool
    # Whether another attempt of that time could then still turn out to own what nobody owned.
    contested: bool
    unowned: tuple[Video, ...]
    # The clock offset that this search measured; None unless each page was dated when it was requested.
    offset: Offset | None = None
    # Ids of ours that the list should have shown.
    missing: tuple[str, ...] = ()
    # Whether the upstream showed no id of ours at all, although there are some.
    strange: bool = False


def reconcile(submission: Submission, upstream: Upstream) -> None:
    """Searches once for an unknown submission, if that is due. Adopts the best match that nobody owns."""
    if not upstream.dialect.lists:
        # A person decides; until then it is neither sent again nor forgotten.
        Submission.objects.filter(pk=submission.pk, state=SubmissionState.UNKNOWN).update(due_at=None)
        return
    if not submission.claim_due(upstream.lease):
        return
    # The window is judged by the time at which the search began, not by its end.
    began = database_now()
    search = _search(submission, upstream)
    with locked(submission) as (job, submission):
        record_offset(submission, search.offset)
        # With a rival, none of them is taken: once that one is decided, or else by a person.
        match = [] if has_rival(submission) else _matches(submission, search.unowned, upstream)
        if submission.state != SubmissionState.UNKNOWN or submission.unknown_at is None:
            return
        if match and accept(job, submission, match[0], upstream, how="found"):
            if others := ", ".join(video.id for video in match[1:]):
                logger.error("More videos than one match %s; nobody owns %s.", submission, others)
            return
        _schedule(job, submission, search, began, upstream)


def _matches(submission: Submission, videos: Iterable[Video], upstream: Upstream) -> list[Video]:
    """The videos that may be adopted, the best first: the earliest from the attempt's start on.

    If the upstream is known to date by another clock than it shows, the latest of any date: no later attempt
    alike can have made it.
    """
    key = submission.match_key
    alike = sorted(
        (video for video in videos if upstream.dialect.match_key(video) == key),
        key=lambda video: (video.created_at or database_now(), video.id),
    )
    start, _ = attempted(submission)
    within = [video for video in alike if video.created_at is None or video.created_at >= start]
    if within or submission.provider.dates_agree is not False:
        return within
    return alike[::-1]


def _search(submission: Submission, upstream: Upstream) -> _Search:
    candidates = Candidates(submission, upstream.dialect)
    expected = Expected(submission.provider)
    missing: list[str] = []
    strange = False
    offset: Offset | None = None
    try:
        with respecting_retry_after(upstream, Call.LIST):
            complete, offset = _read_back(submission, upstream, candidates, expected)
        if complete:
            missing = expected.missing()
            if not missing and is_past_window(submission):
                missing = expected.known_and_missing(upstream)
            strange = _is_strange(submission, expected, upstream)
    except errors.SoraError as error:
        # What was seen before that may be adopted; it proves no absence.
        logger.warning("The list could not be read to find %s: %s", submission, error)
        complete = False
    # In this order: a submission that was decided by then owns its video.
    contested = _contested(submission)
    return _Search(complete, contested, candidates.unowned(), offset, tuple(missing), strange)


def _read_back(
    submission: Submission, upstream: Upstream, candidates: Candidates, expected: Expected
) -> tuple[bool, Offset | None]:
    """Whether the list was read back to before the attempt, and what it shows about the clocks.

    Raises SoraError.
    """
    start = nearly_attempted(submission)
    offset: Offset | None = None
    dated = True
    for page in walk(upstream):
        dated = dated and page.offset is not None
        if offset is None and page.offset is not None:
            # The window of what is read from here on is by this clock.
            offset = page.offset
            start = min(start, (submission.created_at + offset.low).replace(microsecond=0) - NEAR)
        candidates.add(page.videos)
        expected.add(page)
        if page.fault:
            logger.warning("The list proves nothing about %s: %s.", submission, page.fault)
            return False, offset
        if candidates.overflowed:
            logger.error("Too many videos that nobody owns may be %s.", submission)
            return False, offset
        if page.ended or (page.back_to is not None and page.back_to < start):
            return True, offset if dated else None
    logger.error("The list of %s does not end.", upstream.name)
    return False, offset


def _is_strange(submission: Submission, expected: Expected, upstream: Upstream) -> bool:
    """Whether a list that does not show the attempt shows nothing of ours at all. Raises SoraError."""
    began = database_now()
    if expected.any_shown or not is_past_window(submission):
        return False
    known = knows_us(upstream, until=began)
    if known is None:
        return shows_no_old_one(upstream)
    if not known:
        doubt(submission.provider, "it knows none of our ids", began)
    return not known


def _contested(submission: Submission) -> bool:
    _, end = attempted(submission)
    # Dates are whole seconds, and clocks differ: a video of what was begun after the end may be dated before.
    end += timedelta(seconds=settings.SORA_CLOCK_SKEW + 1)
    undecided = Submission.objects.filter(provider=submission.provider_id, state__in=UNDECIDED)
    # One whose own searches have ended, or that is not searched for, is left to a person.
    looked_for = undecided.filter(
        created_at__lt=end, attempts__lt=len(settings.SORA_RECONCILE_SECONDS), due_at__isnull=False
    )
    return looked_for.exclude(pk=submission.pk).exists()


def _schedule(job: Job, submission: Submission, search: _Search, began: datetime, upstream: Upstream) -> None:
    """Nothing was found: searches again later, or calls it absent. Called under the job's lock."""
    window = settings.SORA_RECONCILE_SECONDS
    assert submission.unknown_at is not None
    attempts = submission.attempts
    record_contact(submission, search.complete, began)
    if search.complete:
        # A late search counts for the earlier ones that were missed.
        past = (began - submission.unknown_at).total_seconds()
        attempts = max(attempts, sum(1 for each in window if each <= past))
    if attempts < len(window):
        due = (
            submission.unknown_at + timedelta(seconds=window[attempts])
            if search.complete
            else _next_search(began)
        )
        _again(submission, attempts, due)
    elif not search.complete:
        _again(submission, attempts, _next_search(began))
    else:
        _judge(job, submission, search, began, upstream)


def _judge(job: Job, submission: Submission, search: _Search, began: datetime, upstream: Upstream) -> None:
    """The whole window has passed, and a complete search found no video of its own."""
    person = needs_person(job, submission, upstream)
    if search.offset is None:
        person = person or "its list has no date of its own and may come from a cache"
    if search.strange:
        person = person or "this upstream shows none of the ids that we know"
    attempts = len(settings.SORA_RECONCILE_SECONDS)
    if not (search.unowned or search.missing or person):
        record_absent(job, submission, how="proven")
    elif submission.give_up_at <= began:
        give_up_if_expired(job, submission)
    elif search.unowned and search.contested:
        # It may be that of a create which is answered just now, or is looked for as well.
        _again(submission, attempts, began + timedelta(seconds=_AGAIN_SECONDS))
    elif search.missing and not (search.unowned or person):
        # It may be late on the list, or is lost and not yet known to be.
        logger.warning(
            "The list proves nothing about %s: %s is ours and not on it", submission, search.missing[0]
        )
        assert submission.unknown_at is not None
        seconds = (began - submission.unknown_at).total_seconds() / 10
        wait = min(max(seconds, _AGAIN_SECONDS), _LINGER_SECONDS)
        _again(submission, attempts, began + timedelta(seconds=wait))
    else:
        ids = ", ".join(video.id for video in search.unowned)
        logger.error(
            "Whether %s was accepted cannot be proven: %s. It is not sent again.",
            submission,
            f"nobody owns {ids}" if ids else person,
        )
        _again(submission, attempts, began + timedelta(seconds=_LINGER_SECONDS))


def record_offset(submission: Submission, found: Offset | None) -> None:
    """Narrows the clock offset since the claim, or records that a clock was set. Under the lock."""
    if found is None:
        return
    known = found
    if submission.clock_low is not None and submission.clock_high is not None:
        before = Offset(timedelta(seconds=submission.clock_low), timedelta(seconds=submission.clock_high))
        both = before.and_also(found)
        submission.clock_steady = submission.clock_steady and both is not None
        # Of two that contradict each other, all that either allows.
        known = both or Offset(min(before.low, found.low), max(before.high, found.high))
    submission.clock_low, submission.clock_high = known.low.total_seconds(), known.high.total_seconds()
    submission.save(update_fields=["clock_low", "clock_high", "clock_steady"])


def _next_search(began: datetime) -> datetime:
    """When to search again after a list that proved nothing: later, if reading it took longer."""
    now = database_now()
    return now + max(now - began, timedelta(seconds=_AGAIN_SECONDS))


def _again(submission: Submission, attempts: int, due: datetime) -> None:
    Submission.objects.filter(pk=submission.pk).update(attempts=attempts, due_at=due)
