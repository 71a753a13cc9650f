"""The upstreams that jobs are sent to, as rows."""

from datetime import datetime
from enum import StrEnum

from django.db import models

from upstreams.client.values import ID_MAX_BYTES
from upstreams.clock import database_now


class Call(StrEnum):
    """The kinds of calls besides creates. Each has its own back-off."""

    LIST = "list"
    RETRIEVE = "retrieve"
    DOWNLOAD = "download"
    DELETE = "delete"

    @property
    def backoff_field(self) -> str:
        """The column of Provider that says until when no such call is made."""
        return f"{self.value}_backoff_until"


class Provider(models.Model):
    """One upstream, known by its name. Its row is the lock under which work for it is claimed."""

    name = models.CharField(max_length=100, unique=True)
    # The number of claims so far. OwnerRotation refers to it.
    turns = models.PositiveBigIntegerField(default=0)
    # Nothing is sent before this: the upstream was busy or could not be reached.
    sending_backoff_until = models.DateTimeField(null=True)
    sending_backoff_reason = models.TextField(blank=True)
    # No such call is made before these: the upstream asked for it in its answer to one.
    list_backoff_until = models.DateTimeField(null=True)
    retrieve_backoff_until = models.DateTimeField(null=True)
    download_backoff_until = models.DateTimeField(null=True)
    delete_backoff_until = models.DateTimeField(null=True)
    # When the next create may be sent, at its requests per minute.
    next_token_at = models.DateTimeField(null=True)
    # Nothing is sent until an operator says so.
    stopped_at = models.DateTimeField(null=True)
    stop_reason = models.TextField(blank=True)
    # How often it has given an id of ours to another video, since an operator last resumed it.
    reused_ids = models.PositiveIntegerField(default=0)
    # It does not know the ids that we know: perhaps another account or server under the same name. Nothing
    # is sent to it, and what it says counts for nothing, until it knows an id of `known_until` or before.
    unrecognized_at = models.DateTimeField(null=True)
    unrecognized_reason = models.TextField(blank=True)
    known_until = models.DateTimeField(null=True)
    # An operator said that it may have lost what it had accepted by then.
    losses_accepted_at = models.DateTimeField(null=True)
    # Nothing is sent until a probe succeeds.
    paused_at = models.DateTimeField(null=True)
    pause_reason = models.TextField(blank=True)
    probe_due_at = models.DateTimeField(null=True)
    # Failures since the last accepted create; sets the length of the next back-off.
    failures = models.PositiveIntegerField(default=0)
    # The last usable answer to any call; the next time a worker asks if there was none for a while.
    answered_at = models.DateTimeField(null=True)
    contact_due_at = models.DateTimeField(null=True)
    # When the next sweep is due; while one runs, the end of its lease.
    sweep_due_at = models.DateTimeField(null=True)
    # The video of the list after which the next sweep continues; "" for the beginning.
    sweep_after = models.CharField(max_length=ID_MAX_BYTES, blank=True)
    # Null before the first audit, which is due AUDIT_SECONDS after created_at.
    audit_due_at = models.DateTimeField(null=True)
    # False once it has echoed other fields than it was sent, or dated a video outside its create: what its
    # list does not show may then be there all the same.
    proves_absence = models.BooleanField(default=True)
    # Whether the last video that it accepted was dated by the clock that its answers show; null while no
    # accepted video had a date.
    dates_agree = models.BooleanField(null=True)
    # Its clock minus the database's, in seconds, as measured last: between these two, at this time.
    clock_low = models.FloatField(null=True)
    clock_high = models.FloatField(null=True)
    clock_at = models.DateTimeField(null=True)
    # An operator said that creates go on although its list cannot be compared with our books.
    books_waived = models.BooleanField(default=False, db_default=False)
    # When its list was last compared with our books (videos.reconciliation.restored.books).
    books_checked_at = models.DateTimeField(null=True)
    # The models that it tells itself (upstreams.offer.stored), and when it is asked for them again.
    catalogue = models.JSONField(null=True)
    catalogue_due_at = models.DateTimeField(null=True)
    # When our workers last noted that they work (videos.lifecycle.working_time).
    worked_at = models.DateTimeField(default=database_now)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    def is_backing_off(self) -> bool:
        """Whether nothing may be sent yet because of a back-off."""
        return self.sending_backoff_until is not None and self.sending_backoff_until > database_now()

    def backoff_until(self, call: Call) -> datetime | None:
        """Until when no call of this kind is made, if the upstream ever asked to wait with one."""
        until: datetime | None = getattr(self, call.backoff_field)
        return until

    def backoff_seconds(self, call: Call) -> float:
        """Seconds for which no call of this kind is made yet."""
        until = self.backoff_until(call)
        return 0.0 if until is None else max(0.0, (until - database_now()).total_seconds())

    def is_open(self) -> bool:
        """Whether it is neither stopped, paused nor unrecognized."""
        return self.stopped_at is None and self.unrecognized_at is None and self.paused_at is None

    def takes_creates(self) -> bool:
        """Whether creates are sent to it now: it is open and not backing off."""
        return self.is_open() and not self.is_backing_off()


class ForeignVideo(models.Model):
    """A video on a provider's list that an operator declared to be none of ours."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="foreign_videos")
    upstream_id = models.CharField(max_length=ID_MAX_BYTES)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "upstream_id"], name="foreign_video_once")]

    def __str__(self) -> str:
        return self.upstream_id
