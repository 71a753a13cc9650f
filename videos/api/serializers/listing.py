"""The parameters of lists, and their pages."""

from typing import Any, Final

from rest_framework import serializers

from api.bodies.fields import StrictChoiceField, StrictSerializer
from api.moments import MomentField
from upstreams.offer.request import PRIORITIES
from videos.api.queries import MAX_COUNT
from videos.api.serializers.job import JobView
from videos.states import JobStatus

MAX_PAGE_SIZE: Final = 100
VARIANTS: Final = ["video", "thumbnail", "poster", "posterWebp", "spritesheet", "vtt", "preview"]


class PageQuery(StrictSerializer):
    """Which part of a list, by page or by cursor."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="From 1; not with cursor.")
    limit = serializers.IntegerField(
        default=20, min_value=1, max_value=MAX_PAGE_SIZE, help_text="Rows per page."
    )
    cursor = serializers.UUIDField(required=False, help_text="`nextCursor` of the page before.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "page" in attrs and "cursor" in attrs:
            raise serializers.ValidationError({"page": "Give page or cursor, not both."})
        if attrs.get("page", 1) * attrs["limit"] > MAX_COUNT:
            raise serializers.ValidationError(
                {"page": f"Pages end at {MAX_COUNT} rows; go on with nextCursor as cursor."}
            )
        return attrs


class ListQuery(PageQuery):
    """Which jobs to list."""

    status = StrictChoiceField(choices=JobStatus.values, required=False)
    batchId = serializers.UUIDField(required=False, help_text="Jobs of this batch.")
    priority = StrictChoiceField(choices=list(PRIORITIES), required=False)
    createdAfter = MomentField(required=False, help_text="ISO 8601; jobs made at or after it.")
    createdBefore = MomentField(required=False, help_text="ISO 8601; jobs made before it.")


class ContentQuery(StrictSerializer):
    """Which of a job's files."""

    variant = StrictChoiceField(choices=VARIANTS, default="video")
    expires = serializers.IntegerField(required=False, help_text="Of a link: when it ends, as Unix time.")
    signature = serializers.CharField(required=False, max_length=100, help_text="Of a link.")


class Pagination(serializers.Serializer):  # type: ignore[type-arg]
    """The position in a list. `page` is null for a cursor."""

    page = serializers.IntegerField(allow_null=True)
    limit = serializers.IntegerField()
    total = serializers.IntegerField(help_text=f"Counted up to {MAX_COUNT}.")
    totalIsCut = serializers.BooleanField(help_text="There are more than `total`.")
    totalPages = serializers.IntegerField()
    hasMore = serializers.BooleanField()
    nextCursor = serializers.UUIDField(allow_null=True)


class JobPage(serializers.Serializer):  # type: ignore[type-arg]
    """One page of jobs."""

    data = JobView(many=True)  # type: ignore[assignment]
    pagination = Pagination()
