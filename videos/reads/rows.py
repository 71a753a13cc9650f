"""What of a job and its submissions is read to show it: one statement, and no model instances.

An instance of fifty fields costs more than the database's answer, and a page has a hundred.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from accounts.ownership import owned_by
from api.statements.compiled import Compiled
from videos.models import Job
from videos.states import JOB_OPEN, JobStatus


class SubmissionRow(NamedTuple):
    """A submission's part of what is shown."""

    number: int
    state: str
    request: dict[str, Any]
    upstream_id: str | None
    price: Decimal | None
    cost_state: str
    created_at: datetime
    lease_until: datetime
    unknown_at: datetime | None
    give_up_at: datetime
    error_message: str
    provider_id: int
    provider_name: str


class JobRow(NamedTuple):
    """What is shown of a job. The fields are those of the model, with four of its
    previews and two of its API key."""

    pk: UUID
    owner_id: int
    group_id: UUID | None
    ref: str
    prompt: str
    negative_prompt: str
    duration: float | None
    resolution: str
    aspect_ratio: str
    size: str
    fps: int | None
    seed: int | None
    audio: bool | None
    extra: dict[str, Any]
    style: str
    model: str
    operation: str
    source_job: UUID | None
    priority: int
    metadata: dict[str, Any]
    fitted: dict[str, Any]
    adjustments: list[dict[str, Any]]
    upstream: str
    estimated_cost: Decimal | None
    status: str
    held: bool
    due_at: datetime
    progress: int
    error_code: str
    error_message: str
    error_details: Any
    video: str
    thumbnail: str
    result_seconds: float | None
    width: int | None
    height: int | None
    format: str
    file_size: int | None
    sha256: str
    codec: str
    result_fps: float | None
    result_audio: bool | None
    retain_for: int | None
    remove_at: datetime | None
    removed_at: datetime | None
    on_hold: bool
    created_at: datetime
    asked_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    deleted_at: datetime | None
    poster: str | None
    poster_webp: str | None
    spritesheet: str | None
    animation: str | None
    key_revoked_at: datetime | None
    key_jobs_released_at: datetime | None
    # By number.
    submissions: tuple[SubmissionRow, ...]

    @property
    def age(self) -> float:
        """Seconds since it was last asked for."""
        return (timezone.now() - self.asked_at).total_seconds()

    @property
    def overdue(self) -> bool:
        """Whether it takes longer than expected. It continues all the same."""
        return self.status in JOB_OPEN and self.age > settings.JOB_OVERDUE_AFTER

    @property
    def is_held(self) -> bool:
        """Whether it waits and is not sent, because the key that asked was revoked."""
        revoked = self.key_revoked_at is not None and self.key_jobs_released_at is None
        return self.status == JobStatus.PENDING and (self.held or revoked)


_NAMED: Final = {
    "poster": "preview__poster",
    "poster_webp": "preview__poster_webp",
    "spritesheet": "preview__spritesheet",
    "animation": "preview__animation",
    "key_revoked_at": "api_key__revoked_at",
    "key_jobs_released_at": "api_key__jobs_released_at",
}
_JOB: Final = [_NAMED.get(name, name) for name in JobRow._fields[:-1]]
_SUBMISSION: Final = [
    f"submissions__{name.replace('provider_name', 'provider__name')}" for name in SubmissionRow._fields
]
# The statement has as many ids as the next of these; the last id fills what is left.
_SIZES: Final = (1, 10, 100, 500)


def _selected(jobs: Any) -> Any:
    return jobs.order_by("pk", "submissions__number").values_list(*_JOB, *_SUBMISSION)


_owned: Final = Compiled(
    lambda owner, ids: _selected(owned_by(Job.objects.filter(pk__in=ids), owner)),
)
_any: Final = Compiled(lambda ids: _selected(Job.objects.filter(pk__in=ids)))


def owned_row(owner: Any, pk: UUID) -> JobRow | None:
    """A caller's job; None if the caller has no such job."""
    return next(_joined(_owned.rows(owner=owner.pk, ids=[pk])), None)


def rows_of(pks: Sequence[UUID]) -> list[JobRow]:
    """These jobs in this order, without those that are not there."""
    found: dict[UUID, JobRow] = {}
    for first in range(0, len(pks), _SIZES[-1]):
        some = list(pks[first : first + _SIZES[-1]])
        size = next(size for size in _SIZES if size >= len(some))
        padded = some + [some[-1]] * (size - len(some))
        found.update((row.pk, row) for row in _joined(_any.rows(ids=padded)))
    return [found[pk] for pk in pks if pk in found]


def _joined(rows: Iterable[tuple[Any, ...]]) -> Any:
    """The jobs with their submissions, of rows that come in the order of the jobs."""
    width = len(_JOB)
    for _, together in groupby(rows, key=lambda row: row[0]):
        its = list(together)
        submissions = tuple(SubmissionRow._make(row[width:]) for row in its if row[width] is not None)
        yield JobRow._make((*its[0][:width], submissions))
