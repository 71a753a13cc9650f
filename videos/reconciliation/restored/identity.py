"""Whether an upstream is still the one that we know: it knows our ids and gives none of them to
other videos."""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Q, QuerySet

from upstreams.breaker import respecting_retry_after
from upstreams.changes import Block, log_blocked, log_unblocked
from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.models import Call, Provider
from upstreams.registry import Upstream
from videos.models import Submission
from videos.reconciliation.listing import Page, attempted, walk
from videos.states import SubmissionState

logger = logging.getLogger(__name__)

# Once may be a restart. If it happens again, ids of this upstream mean nothing.
_MAX_REUSED_IDS: Final = 1
# What is kept only for its file is looked for this long, if the upstream does not say when the file expires.
_KEPT_FOR: Final = timedelta(hours=1)
# How much is asked to find one id of ours that the upstream knows.
_MAX_PAGES: Final = 3
_MAX_ASKED: Final = 5
RECHECK_SECONDS: Final = 15
_JUST_SEEN: Final = timedelta(seconds=60)
_S = SubmissionState


def record_reuse(provider: Provider, upstream_id: str) -> None:
    """Counts an id that was given to a second video; the second such id stops the upstream."""
    Provider.objects.filter(pk=provider.pk).update(reused_ids=F("reused_ids") + 1)
    reused = Provider.objects.values_list("reused_ids", flat=True).get(pk=provider.pk)
    if reused <= _MAX_REUSED_IDS:
        return
    reason = f"it gave ids of our videos to others {reused} times, last {upstream_id}"
    if Provider.objects.filter(pk=provider.pk, stopped_at=None).update(
        stopped_at=in_database(), stop_reason=reason
    ):
        log_blocked(provider.name, Block.STOPPED, reason)
        logger.error("%s is stopped until an operator resumes it: %s.", provider, reason)


def was_accepted_as_lost(submission: Submission) -> bool:
    """Whether an operator has accepted that the upstream may have lost its video, and so its id."""
    accepted, before = submission.provider.losses_accepted_at, submission.accepted_at
    return accepted is not None and before is not None and before <= accepted


def must_be_known(provider: Provider) -> QuerySet[Submission]:
    """The submissions whose video the upstream must know: live ones, and those that have just finished."""
    now = database_now()
    kept = Q(expires_at__gt=now) | Q(expires_at__isnull=True, ended_at__gt=now - _KEPT_FOR)
    return _known(provider).filter(Q(state__in=[_S.RENDERING, _S.RENDERED]) | Q(kept, state=_S.STORED))


def _known(provider: Provider) -> QuerySet[Submission]:
    """The submissions whose video the upstream may still have."""
    known = Submission.objects.filter(
        provider=provider,
        state__in=[_S.RENDERING, _S.RENDERED, _S.STORED, _S.FAILED, _S.GIVEN_UP],
        upstream_id__isnull=False,
        accepted_at__isnull=False,
        id_reused=False,
    )
    if provider.losses_accepted_at is not None:
        known = known.filter(accepted_at__gt=provider.losses_accepted_at)
    return known


def knows_us(upstream: Upstream, *, until: datetime, besides: Submission | None = None) -> bool | None:
    """Whether the upstream knows an id of ours of that time or before; `besides` does not count.

    Later ids count only if it need not know an earlier one, because another upstream would know what was sent
    to it. None if there is nothing to judge by. Raises SoraError.
    """
    provider = upstream.provider()
    knows_later_ones = False
    if upstream.dialect.lists:
        with respecting_retry_after(upstream, Call.LIST):
            for page in walk(upstream, most=_MAX_PAGES):
                shown = {video.id: video for video in page.videos}
                for row in Submission.objects.filter(provider=provider, upstream_id__in=list(shown)):
                    if row == besides or row.accepted_at is None or not row.owns(shown[str(row.upstream_id)]):
                        continue
                    if row.accepted_at <= until:
                        return True
                    knows_later_ones = True
    known = must_be_known(provider).order_by("-accepted_at")
    if besides is not None:
        known = known.exclude(pk=besides.pk)
    if before := known.filter(accepted_at__lte=until)[:_MAX_ASKED]:
        return any(_is_known(row, upstream) for row in before)
    if knows_later_ones:
        return True
    later = known[:_MAX_ASKED]
    return any(_is_known(row, upstream) for row in later) if later else None


def shows_no_old_one(upstream: Upstream) -> bool:
    """Whether we have ids of any age and it knows none of the latest; it may have forgotten them over time.

    Used if `knows_us` returns None. Raises SoraError.
    """
    latest = _known(upstream.provider()).order_by("-accepted_at")[:_MAX_ASKED]
    return bool(latest) and not any(_is_known(row, upstream) for row in latest)


def _is_known(row: Submission, upstream: Upstream) -> bool:
    """Whether the upstream has its video. Raises SoraError."""
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            return row.owns(upstream.client.retrieve(str(row.upstream_id)))
    except errors.NotFound:
        return False


def confirms_loss(submission: Submission, upstream: Upstream) -> bool:
    """Whether an unknown id is lost there, because the upstream is otherwise the one that we know.

    If not, nothing is sent to it from here on. Raises SoraError.
    """
    if was_accepted_as_lost(submission):
        return True
    provider = submission.provider
    until = submission.seen_at or submission.accepted_at or submission.created_at
    if knows_us(upstream, until=until, besides=submission):
        return True
    doubt(provider, f"it does not know {submission.upstream_id}, nor any other id of ours", until)
    return False


def doubt_if_none_is_known(missing: list[Submission], upstream: Upstream) -> None:
    """Several ids are unknown at once: if the upstream knows none of ours, it is no longer trusted.

    Raises SoraError.
    """
    provider = upstream.provider()
    accepted = provider.losses_accepted_at
    if accepted is not None:
        missing = [each for each in missing if each.accepted_at and each.accepted_at > accepted]
    if len(missing) < 2:
        return
    until = max(each.seen_at or each.created_at for each in missing)
    if not knows_us(upstream, until=until):
        ids = ", ".join(str(each.upstream_id) for each in missing[:_MAX_ASKED])
        doubt(provider, f"it does not know {len(missing)} ids of ours at once, such as {ids}", until)


def doubt(provider: Provider, reason: str, until: datetime) -> None:
    """Blocks the provider until it knows an id of that time or before, or an operator resumes it."""
    doubted = Provider.objects.filter(pk=provider.pk, unrecognized_at=None).update(
        unrecognized_at=in_database(),
        unrecognized_reason=reason,
        known_until=until,
        probe_due_at=in_database(RECHECK_SECONDS),
    )
    if doubted:
        log_blocked(provider.name, Block.UNRECOGNIZED, reason)
        logger.error(
            "%s is not the upstream that we know: %s. Nothing is sent to it and no job is ended by it. Mend "
            "SORA_BASE_URL or SORA_API_KEY, or run `manage.py resume_provider %s --accept-losses` if it has "
            "lost its videos.",
            provider,
            reason,
            provider,
        )


def recheck(upstream: Upstream) -> None:
    """Ends the block if the upstream knows us again. Raises SoraError."""
    provider = upstream.provider()
    if provider.unrecognized_at is None:
        return
    until = provider.known_until or provider.unrecognized_at
    if not knows_us(upstream, until=until):
        return
    ended = Provider.objects.filter(pk=provider.pk, unrecognized_at=provider.unrecognized_at).update(
        unrecognized_at=None, unrecognized_reason="", known_until=None
    )
    if ended:
        log_unblocked(provider.name, Block.UNRECOGNIZED, "it knows our ids again")
        logger.warning("%s knows our ids again; work continues.", provider)


class Expected:
    """The videos of ours that a walk of the list must show. If one is missing, the list proves no absence."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._left = {str(row.upstream_id): row for row in must_be_known(provider)}
        # Of any age: the upstream may have forgotten these, and is asked whether it has.
        latest = _known(provider).order_by("-accepted_at")[:_MAX_ASKED]
        self._latest = {str(row.upstream_id): row for row in latest}
        self._back_to: datetime | None = None
        self._ended = False
        self.any_shown = False

    def add(self, page: Page) -> None:
        """Removes what a page shows."""
        self._back_to, self._ended = page.back_to, page.ended
        for video in page.videos:
            row = self._latest.get(video.id)
            if row is not None and row.owns(video):
                del self._latest[video.id]
            row = self._left.get(video.id)
            if row is not None and row.owns(video):
                del self._left[video.id]
                self.any_shown = True

    def missing(self) -> list[str]:
        """The ids that were not shown as far as the list was read."""
        rows = [row for row in self._left.values() if self._was_passed(row)]
        # Not those that were ended or dropped meanwhile.
        still = must_be_known(self._provider).filter(pk__in=[row.pk for row in rows])
        return sorted(str(upstream_id) for upstream_id in still.values_list("upstream_id", flat=True))

    def known_and_missing(self, upstream: Upstream) -> list[str]:
        """The latest ids that were not shown, although the upstream knows them. Raises SoraError."""
        rows = [row for row in self._latest.values() if self._was_passed(row)]
        return [str(row.upstream_id) for row in rows if _is_known(row, upstream)]

    def _was_passed(self, row: Submission) -> bool:
        # Or the upstream does not know it when it is asked after it.
        if self._ended or row.missing_polls:
            return True
        # Without a date of its own, one that no clock may have dated before what was read.
        made = row.upstream_created_at or attempted(row)[0]
        return self._back_to is not None and made > self._back_to


def names_its_video(submission: Submission, upstream: Upstream) -> bool:
    """Whether its id still names its video. Asks the upstream, unless it was seen a moment ago."""
    if submission.id_reused:
        return False
    seen_at = submission.rendered_at if submission.state == _S.RENDERED else None
    just_seen = seen_at is not None and database_now() - seen_at < _JUST_SEEN
    if just_seen and not submission.provider.reused_ids:
        return True
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            return submission.owns(upstream.client.retrieve(str(submission.upstream_id)))
    except errors.SoraError:
        # The download says what there is.
        return True
