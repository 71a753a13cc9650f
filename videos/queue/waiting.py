"""Which submissions wait because their due call is backing off."""

from datetime import timedelta
from typing import Final

from django.db.models import Q

from upstreams.models import Call, Provider
from videos.states import JobStatus, SubmissionState

_S = SubmissionState
_CANCELLED: Final = Q(job__status=JobStatus.CANCELLED)
_TO_DROP: Final = Q(state=_S.DROPPING) | (Q(state__in=[_S.RENDERED, _S.RENDERING]) & _CANCELLED)
_CALL_FOR: Final = {
    Call.LIST: Q(state=_S.UNKNOWN),
    # A drop asks whose video it is before it deletes one.
    Call.RETRIEVE: Q(state=_S.GIVEN_UP) | _TO_DROP,
    Call.DOWNLOAD: (Q(state=_S.RENDERED) & ~_CANCELLED) | Q(state=_S.STORED),
    Call.DELETE: _TO_DROP,
}
# A file is fetched all the same if it would have less than this left when the wait ends.
_URGENT: Final = timedelta(minutes=10)


def must_wait(provider: Provider) -> Q:
    """The submissions of the provider for which no call is made yet.

    A file that is about to expire never waits: it is paid, and being refused once more costs nothing.
    """
    waiting = Q(pk__in=[])
    for call, due in _CALL_FOR.items():
        until = provider.backoff_until(call)
        if until is None or not provider.backoff_seconds(call):
            continue
        if call is Call.DOWNLOAD:
            due &= Q(expires_at__isnull=True) | Q(expires_at__gt=until + _URGENT)
        waiting |= due
    return waiting
