"""Compares the upstream's list with our rows: videos that nobody owns, and submissions that it lacks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Q

from api.logs.events import EACH
from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from upstreams.clock import database_now, in_database
from upstreams.models import Call, Provider
from upstreams.offer import pricing
from upstreams.offer.catalogue import Catalogue
from upstreams.registry import Upstream
from videos.models import Submission
from videos.reconciliation.candidates import slim
from videos.reconciliation.listing import may_be_its, unowned, walk
from videos.states import UNDECIDED, SubmissionState

logger = logging.getLogger(__name__)

_S = SubmissionState
# Not those that we or the upstream removed, nor those whose loss was said when it was found.
_LISTED = [_S.RENDERING, _S.RENDERED, _S.STORED, _S.FAILED, _S.GIVEN_UP]
# An upstream may forget what is finished; these it must still have.
_NEEDED = [_S.RENDERING, _S.RENDERED]
_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of one audit. If there is a `fault`, nothing is proven and nothing is found."""

    provider: str
    fault: str = ""
    catalogue: Catalogue = field(default_factory=lambda: Catalogue({}, ""))
    seen: int = 0
    # Everything on the list from here on was seen; None if the whole list was seen.
    since: datetime | None = None
    orphans: tuple[Video, ...] = ()
    missing: tuple[Submission, ...] = ()
    # Unowned videos without a date, which may belong to a create that is still undecided.
    undated: int = 0

    def findings(self) -> Iterator[str]:
        """One line each."""
        for video in self.orphans:
            made = f" of {video.created_at:%Y-%m-%d %H:%M:%S}" if video.created_at else ""
            yield f"orphan {video.id}{made}: nobody owns it, price {dollars(price(video, self.catalogue))}."
        for submission in self.missing:
            yield (
                f"missing {submission.upstream_id}: the list does not show it; it belongs to {submission}, "
                f"price {dollars(submission.price)}."
            )

    def summary(self) -> str:
        """One line for all."""
        if self.fault:
            return f"The audit of {self.provider} proves nothing: {self.fault}."
        span = f"since {self.since:%Y-%m-%d %H:%M:%S}" if self.since else "to its end"
        undated = f", unowned without a date {self.undated}" if self.undated else ""
        return (
            f"The audit of {self.provider} read its list {span}: videos {self.seen}, "
            f"orphans {len(self.orphans)}, missing {len(self.missing)}{undated}."
        )


def price(video: Video, catalogue: Catalogue) -> Decimal | None:
    """What a video on the list cost; None if that is not known."""
    if video.remixed_from is not None or video.model is None or video.size is None or video.seconds is None:
        return None
    return catalogue.cost_of_sent(video.model, video.size, video.seconds)


def dollars(amount: Decimal | None) -> str:
    """An amount for people to read."""
    return "unknown" if amount is None else f"{amount:.4f} {pricing.CURRENCY}"


def is_audit_due(provider: Provider) -> bool:
    """Whether it is time for its next audit, and its list may be read."""
    if not settings.AUDIT_SECONDS or provider.backoff_seconds(Call.LIST):
        return False
    first = provider.created_at + timedelta(seconds=settings.AUDIT_SECONDS)
    return (provider.audit_due_at or first) <= database_now()


def audit_if_due(upstream: Upstream) -> None:
    """Audits and logs the findings, if an audit is due. Only the first caller does it."""
    provider = upstream.provider()
    if not is_audit_due(provider):
        return
    unchanged = Provider.objects.filter(pk=provider.pk, audit_due_at=provider.audit_due_at)
    if not unchanged.update(audit_due_at=in_database(settings.AUDIT_SECONDS)):
        return
    found = audit(upstream)
    for line in found.findings():
        logger.error("%s", line, extra=EACH)
    logger.log(logging.WARNING if found.fault else logging.INFO, "%s", found.summary())


def audit(upstream: Upstream) -> Audit:
    """Reads AUDIT_PAGES of the list, newest first, and compares them with our rows. Changes nothing."""
    if not upstream.dialect.lists:
        return Audit(upstream.name, f"the dialect {upstream.dialect.name} has no list")
    began = database_now()
    listed: dict[str, Video] = {}
    since, ended = None, False
    # Whose video may be dated anywhere: of those alone the texts are needed.
    undecided = Submission.objects.filter(provider__name=upstream.name, state__in=UNDECIDED)
    match_keys = set(undecided.values_list("match_key", flat=True))
    try:
        with respecting_retry_after(upstream, Call.LIST):
            for page in walk(upstream, most=settings.AUDIT_PAGES):
                if page.fault:
                    return Audit(upstream.name, page.fault)
                listed |= {video.id: slim(video, match_keys, upstream.dialect) for video in page.videos}
                since, ended = page.back_to, page.ended
    except errors.SoraError as error:
        return Audit(upstream.name, f"it could not be read: {str(error).rstrip('.')}")
    if since is None and not ended:
        return Audit(upstream.name, "no video on it has a date")
    provider = upstream.provider()
    # What is younger may still become ours, or was accepted after its page had been read.
    undecided_for = timedelta(seconds=upstream.lease + settings.SORA_RECONCILE_SECONDS[-1])
    settled = began - undecided_for - timedelta(seconds=settings.SORA_CLOCK_SKEW)
    orphans, undated = _orphans(provider, listed, settled, upstream.dialect)
    return Audit(
        upstream.name,
        catalogue=upstream.catalogue,
        seen=len(listed),
        since=None if ended else since,
        orphans=orphans,
        undated=undated,
        missing=tuple(_missing(provider, listed, settled, since, ended)),
    )


def _orphans(
    provider: Provider, listed: dict[str, Video], settled: datetime, dialect: Dialect
) -> tuple[tuple[Video, ...], int]:
    """The videos that no submission owns or can still own, and how many more have no date."""
    # Before the owned ones are read: what is adopted in between is then among either.
    undecided = list(
        Submission.objects.select_related("provider").filter(provider=provider, state__in=UNDECIDED)
    )
    strangers = unowned(provider, listed)
    orphans = []
    for video in strangers:
        made = video.created_at
        if made is None or made > settled:
            continue
        if not any(may_be_its(video, submission, dialect) for submission in undecided):
            orphans.append(video)
    return tuple(orphans), sum(1 for video in strangers if video.created_at is None)


def _missing(
    provider: Provider, listed: dict[str, Video], settled: datetime, since: datetime | None, ended: bool
) -> Iterator[Submission]:
    """The accepted submissions that the part of the list that was read should have shown, and did not."""
    # The list may end because the upstream forgets older videos.
    reached = Q(state__in=_NEEDED) if ended else Q(pk__in=[])
    if since is not None:
        # Begun so late that the upstream cannot have dated it before what was read.
        within = since + timedelta(seconds=settings.SORA_CLOCK_SKEW + 1)
        reached |= Q(created_at__gte=within)
    ours = Submission.objects.filter(
        reached,
        Q(expires_at__isnull=True) | Q(expires_at__gt=in_database()),
        provider=provider,
        state__in=_LISTED,
        upstream_id__isnull=False,
        accepted_at__lte=settled,
    )
    # Not by a cursor of the server, which would need one connection for all of its parts.
    last = 0
    while found := list(ours.filter(pk__gt=last).order_by("pk")[:_TOGETHER]):
        last = found[-1].pk
        yield from (submission for submission in found if submission.upstream_id not in listed)
