"""The two state machines: the states and their transitions. docs/architecture.md draws them."""

from collections.abc import Mapping
from typing import Final

from django.db import models


class JobStatus(models.TextChoices):
    """The status of a job, as its caller sees it."""

    PENDING = "pending"
    """Asked for; no upstream has accepted it yet."""
    PROCESSING = "processing"
    """An upstream renders it, or has rendered it and the file is on its way."""
    COMPLETED = "completed"
    """The file is here."""
    FAILED = "failed"
    """It will not come, unless the caller retries."""
    CANCELLED = "cancelled"
    """The caller, or the upstream, called it off."""


class SubmissionState(models.TextChoices):
    """The state of one paid attempt."""

    SENDING = "sending"
    """Committed under a lease; the POST may be on its way."""
    UNSENT = "unsent"
    """Proven never to have been accepted; nothing was paid."""
    REJECTED = "rejected"
    """Refused for what it asks."""
    UNKNOWN = "unknown"
    """It may or may not have been accepted; never sent again until that is known."""
    ABSENT = "absent"
    """Proven not to be upstream."""
    RENDERING = "rendering"
    """Accepted: it has an upstream id."""
    RENDERED = "rendered"
    """Finished upstream; its file is still to be fetched."""
    STORED = "stored"
    """Its file is here."""
    FAILED = "failed"
    """The upstream failed, cancelled or expired it."""
    LOST = "lost"
    """The upstream no longer knows it, or its file is gone."""
    DROPPING = "dropping"
    """It is being deleted upstream, because its job was cancelled."""
    DROPPED = "dropped"
    """Nobody waits for it any more."""
    GIVEN_UP = "given_up"
    """It outlasted JOB_GIVE_UP_AFTER."""


class CostState(models.TextChoices):
    """The state of a submission's price."""

    RESERVED = "reserved"
    """It may have to be paid."""
    RETURNED = "returned"
    """Nothing was paid; the job has the reservation again."""
    RELEASED = "released"
    """Nothing was or will be paid."""
    SETTLED = "settled"
    """Counted as paid, for good."""


_J = JobStatus
JOB_ENTERED_FROM: Final[Mapping[JobStatus, frozenset[JobStatus]]] = {
    _J.PENDING: frozenset({_J.FAILED, _J.CANCELLED}),
    _J.PROCESSING: frozenset({_J.PENDING, _J.FAILED, _J.CANCELLED}),
    _J.COMPLETED: frozenset({_J.PROCESSING, _J.FAILED}),
    _J.FAILED: frozenset({_J.PENDING, _J.PROCESSING}),
    _J.CANCELLED: frozenset({_J.PENDING, _J.PROCESSING}),
}
JOB_OPEN: Final = frozenset({_J.PENDING, _J.PROCESSING})
JOB_ENDED: Final = frozenset(_J) - JOB_OPEN

_S = SubmissionState
SUBMISSION_ENTERED_FROM: Final[Mapping[SubmissionState, frozenset[SubmissionState]]] = {
    _S.SENDING: frozenset(),
    _S.UNSENT: frozenset({_S.SENDING}),
    _S.REJECTED: frozenset({_S.SENDING}),
    # From absent: a create that is answered with a 2xx after it was called absent.
    _S.UNKNOWN: frozenset({_S.SENDING, _S.ABSENT}),
    _S.ABSENT: frozenset({_S.UNKNOWN}),
    _S.RENDERING: frozenset({_S.SENDING, _S.UNKNOWN, _S.ABSENT, _S.GIVEN_UP, _S.DROPPED}),
    _S.RENDERED: frozenset({_S.RENDERING, _S.GIVEN_UP}),
    _S.STORED: frozenset({_S.RENDERED}),
    _S.FAILED: frozenset({_S.RENDERING}),
    _S.LOST: frozenset({_S.RENDERING, _S.RENDERED}),
    _S.DROPPING: frozenset({_S.RENDERING, _S.RENDERED}),
    _S.DROPPED: frozenset({_S.DROPPING, _S.RENDERING}),
    _S.GIVEN_UP: frozenset({_S.UNKNOWN, _S.RENDERING, _S.RENDERED, _S.ABSENT}),
}
LIVE: Final = frozenset({_S.SENDING, _S.UNKNOWN, _S.RENDERING, _S.RENDERED, _S.DROPPING})
"""A job has at most one submission in these."""
UNDECIDED: Final = frozenset({_S.SENDING, _S.UNKNOWN})
"""A match key is in at most one submission in these."""
ACCEPTED: Final = frozenset(
    {_S.RENDERING, _S.RENDERED, _S.STORED, _S.FAILED, _S.LOST, _S.DROPPING, _S.DROPPED}
)
"""These have an upstream id."""

_C = CostState
_OPEN, _PAID = frozenset({_C.RESERVED}), frozenset({_C.SETTLED})
COST_IN: Final[Mapping[SubmissionState, frozenset[CostState]]] = {
    _S.SENDING: _OPEN,
    _S.UNSENT: frozenset({_C.RETURNED}),
    _S.REJECTED: frozenset({_C.RELEASED}),
    _S.UNKNOWN: _OPEN,
    _S.ABSENT: frozenset({_C.RETURNED}),
    # Settled: one that was given up, or dropped without a DELETE, and then revived by a retry.
    _S.RENDERING: _OPEN | _PAID,
    _S.RENDERED: _PAID,
    _S.STORED: _PAID,
    _S.FAILED: frozenset({_C.RELEASED, _C.SETTLED}),
    _S.LOST: _PAID,
    _S.DROPPING: _OPEN | _PAID,
    _S.DROPPED: frozenset({_C.RELEASED, _C.SETTLED}),
    _S.GIVEN_UP: _PAID,
}
