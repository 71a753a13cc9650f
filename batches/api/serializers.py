"""Strict requests of batches, and their answers."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from api.bodies.fields import StrictCharField, StrictChoiceField, StrictIntegerField, StrictSerializer
from api.bodies.json_field import JSONObjectField
from api.moments import MomentField
from batches.progress import BatchStatus
from upstreams.offer.request import MAX_PROMPT_LENGTH
from videos.api.serializers.create import Adjustment, BudgetLeft, CreateVideo, Sent
from videos.api.serializers.job import JobView
from videos.api.serializers.job_parts import Cost
from videos.api.serializers.listing import PageQuery, Pagination
from videos.api.serializers.picture_field import KeptPictureField
from videos.states import JobStatus

# The codes of what of a file is taken although it is not as it should be.
TOLERATED: Final = ("utf16", "separator", "column_names", "trailing_cells")
# Jobs that are shown with their batch.
INLINED_MAX: Final = 100


_PICTURE_HELP: Final = "The id of an uploaded picture."


class BatchItem(CreateVideo):
    """One of the videos of a batch."""

    inputReference = KeptPictureField(source="input_reference", required=False, help_text=_PICTURE_HELP)
    lastFrame = KeptPictureField(source="last_frame", required=False, help_text=_PICTURE_HELP)

    ref = StrictCharField(
        max_length=100, required=False, help_text="The caller's own name for it, once in a batch."
    )


@extend_schema_field(BatchItem(many=True))
class Videos(serializers.Field):  # type: ignore[type-arg]
    """A JSON list. batches.items reads and counts its items, and names the problems of each."""

    default_error_messages = {"invalid": "A list of videos is required."}

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class Defaults(CreateVideo):
    """The defaults of the items."""

    prompt = StrictCharField(max_length=MAX_PROMPT_LENGTH, required=False)
    inputReference = KeptPictureField(source="input_reference", required=False, help_text=_PICTURE_HELP)
    lastFrame = KeptPictureField(source="last_frame", required=False, help_text=_PICTURE_HELP)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # The items may have what is missing.
        return attrs


class _Settings(StrictSerializer):
    """The settings of the batch as a whole."""

    batchName = StrictCharField(source="name", max_length=200, required=False, allow_blank=True)
    concurrency = StrictIntegerField(
        min_value=1,
        max_value=10_000,
        required=False,
        help_text="How many of its jobs may be live upstream at a time; else BATCH_CONCURRENCY.",
    )
    metadata = JSONObjectField(required=False, help_text="Kept with the batch and returned; at most 16 KB.")


class CreateBatch(_Settings):
    """The request to create many videos: all are accepted or none."""

    videos = Videos()
    defaults = Defaults(required=False, partial=True, help_text="For each video that does not say otherwise.")


@extend_schema_field({"type": "string", "example": '{"createdBy": "ada"}'})
class ObjectText(JSONObjectField):
    """An object in an address, as JSON text."""


class UploadQuery(_Settings, Defaults):
    """The batch's name, concurrency and metadata (JSON), and the defaults of the items."""

    metadata = ObjectText(required=False, help_text="Of the batch, as JSON text; at most 16 KB.")
    extra = ObjectText(required=False, help_text="Of each item, as JSON text.")


class ToleratedView(serializers.Serializer):  # type: ignore[type-arg]
    """What of a file was taken although it is not as it should be."""

    code = serializers.ChoiceField(choices=TOLERATED)
    message = serializers.CharField()


class BatchAccepted(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a create."""

    batchId = serializers.UUIDField()
    jobIds = serializers.ListField(child=serializers.UUIDField(), help_text="In the order of the items.")
    total = serializers.IntegerField()
    status = serializers.ChoiceField(choices=BatchStatus.choices)
    message = serializers.CharField()
    adjusted = serializers.IntegerField(help_text="Items that were fitted; each job has its adjustments.")
    skippedRows = serializers.IntegerField(help_text="Blank rows of the file, which are no items.")
    tolerated = ToleratedView(many=True, help_text="How the file was read, where it is not plain CSV.")
    estimatedCost = serializers.CharField(
        allow_null=True, help_text="US dollars; null where an item's price is not listed."
    )


class EstimatedItem(serializers.Serializer):  # type: ignore[type-arg]
    """What one item would send and cost."""

    ref = serializers.CharField(allow_null=True)
    submitted = Sent()
    adjustments = Adjustment(many=True)
    estimatedCost = serializers.CharField(allow_null=True)


class BatchEstimate(serializers.Serializer):  # type: ignore[type-arg]
    """What a create with the same body would send and cost."""

    total = serializers.IntegerField()
    adjusted = serializers.IntegerField()
    skippedRows = serializers.IntegerField()
    tolerated = ToleratedView(many=True)
    unpriced = serializers.IntegerField(help_text="Items whose price is not listed.")
    estimatedCost = serializers.CharField(
        allow_null=True, help_text="US dollars; null where an item's price is not listed."
    )
    currency = serializers.CharField()
    items = EstimatedItem(many=True, help_text=f"The first {INLINED_MAX}.")
    budgets = BudgetLeft(many=True)


class Progress(serializers.Serializer):  # type: ignore[type-arg]
    """How many jobs of a batch are in each status."""

    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    pending = serializers.IntegerField()
    processing = serializers.IntegerField()
    percentage = serializers.IntegerField(help_text="Of jobs that have ended, rounded down.")


class BatchSummary(serializers.Serializer):  # type: ignore[type-arg]
    """A batch without its jobs."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=BatchStatus.choices)
    paused = serializers.BooleanField(help_text="None of its jobs is sent until it is resumed.")
    concurrency = serializers.IntegerField()
    round = serializers.IntegerField(help_text="1, and one more for each retry after it was completed.")
    progress = Progress()
    metadata = JSONObjectField()
    cost = Cost()
    overdue = serializers.BooleanField(help_text="Past BATCH_TIMEOUT, and going on.")
    createdAt = MomentField()
    updatedAt = MomentField()
    completedAt = MomentField(allow_null=True, help_text="When the round's last job ended.")


@extend_schema_serializer(component_name="Batch")
class BatchView(BatchSummary):
    """A batch with its jobs."""

    jobIds = serializers.ListField(
        child=serializers.UUIDField(), help_text=f"The first {INLINED_MAX}, in the order of the items."
    )
    jobs = JobView(many=True, help_text=f"The first {INLINED_MAX}; all of them are at `/jobs`.")


class BatchPage(serializers.Serializer):  # type: ignore[type-arg]
    """One page of batches."""

    data = BatchSummary(many=True)  # type: ignore[assignment]
    pagination = Pagination()


class CancelSummary(serializers.Serializer):  # type: ignore[type-arg]
    """What happened to the jobs of a cancelled batch."""

    total = serializers.IntegerField()
    stopped = serializers.IntegerField(help_text="Cancelled, and stopped upstream where they had been sent.")
    alreadyFinished = serializers.IntegerField()
    notStopped = serializers.IntegerField(
        help_text="Cancelled, and perhaps rendered on upstream, which cannot stop them: they may be paid."
    )


class BatchCancelled(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a cancel."""

    batchId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BatchStatus.choices)
    message = serializers.CharField()
    summary = CancelSummary()


class BatchRetried(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a retry."""

    batchId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BatchStatus.choices)
    retried = serializers.IntegerField(help_text="Jobs that had failed.")


class JobsQuery(PageQuery):
    """Which jobs of a batch to list. They come in the order of its items."""

    status = StrictChoiceField(choices=JobStatus.values, required=False)


class ManifestQuery(StrictSerializer):
    """The form of a manifest."""

    type = StrictChoiceField(choices=["csv", "jsonl"], default="csv")
