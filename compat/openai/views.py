"""Create, list, retrieve and delete of OpenAI's Videos API."""

from dataclasses import replace
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.keys.authentication import key_of
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictChoiceField, StrictSerializer
from compat.openai.bodies import CreateBody, request_of
from compat.openai.calling import StillRuns, VideoAPIView, in_their_words
from compat.openai.repeats import carried_out_once
from compat.openai.shown import deleted, video_of
from upstreams import registry
from upstreams.offer.request import VideoRequest
from videos.api.content.files import MediaUnavailable
from videos.api.queries import owned_jobs
from videos.lifecycle.create import create
from videos.models import Job
from videos.reads.rows import rows_of
from videos.references.asked import with_pictures
from videos.retention.removal import remove_result
from videos.states import JOB_OPEN, JobStatus

_PAGE: Final = 20


class VideosView(VideoAPIView):
    """Create and list."""

    def post(self, request: Request) -> Response:
        """Creates a job, of just the size and the length that are asked for. 200, as OpenAI answers."""

        def prepare() -> VideoRequest:
            asked, more = request_of(CreateBody(), request.data)
            asked = replace(asked, size=asked.size or registry.configured().usual_size(asked.model))
            if "input_reference" in more:
                return with_pictures(asked, {"input_reference": more["input_reference"]}, self.owner(request))
            return asked

        def carry_out(asked: VideoRequest) -> Response:
            return self.shown(request, create(asked, owner=self.owner(request), api_key=key_of(request)))

        return in_their_words(lambda: carried_out_once(request, prepare, carry_out))

    def get(self, request: Request) -> Response:
        """A page of the account's videos, newest first; `after` is the last id of the page before."""
        query = ListQuery(data=parameters_of(request))
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        jobs = self.jobs(request)
        is_ascending = asked["order"] == "asc"
        if "after" in asked:
            # One that was deleted meanwhile has its place all the same.
            last = self.job(request, asked["after"], owned_jobs(self.owner(request)))
            if is_ascending:
                jobs = jobs.filter(Q(created_at__gt=last.created_at) | Q(pk__gt=last.pk))
                jobs = jobs.filter(created_at__gte=last.created_at)
            else:
                jobs = jobs.filter(Q(created_at__lt=last.created_at) | Q(pk__lt=last.pk))
                jobs = jobs.filter(created_at__lte=last.created_at)
        order = ("created_at", "pk") if is_ascending else ("-created_at", "-pk")
        found = list(jobs.order_by(*order).values_list("pk", flat=True)[: asked["limit"] + 1])
        shown = [video_of(row) for row in rows_of(found[: asked["limit"]])]
        return Response(
            {
                "object": "list",
                "data": shown,
                "first_id": shown[0]["id"] if shown else None,
                "last_id": shown[-1]["id"] if shown else None,
                "has_more": len(found) > asked["limit"],
            }
        )


class ListQuery(StrictSerializer):
    """The parameters of a list."""

    after = serializers.CharField(required=False, max_length=100)
    limit = serializers.IntegerField(default=_PAGE, min_value=1, max_value=100)
    order = StrictChoiceField(choices=["asc", "desc"], default="desc")


class VideoView(VideoAPIView):
    """Retrieve and delete."""

    def get(self, request: Request, video_id: str) -> Response:
        """The video as it is now, from the database."""
        return self.shown(request, self.job(request, video_id))

    def delete(self, request: Request, video_id: str) -> Response:
        """Deletes a video that has ended, with its files. The job and what it cost stay."""
        job = self.job(request, video_id)
        if job.status in JOB_OPEN:
            raise StillRuns
        if job.status == JobStatus.COMPLETED:
            try:
                remove_result(job)
            except OSError as error:
                raise MediaUnavailable from error
        with transaction.atomic():
            # It may have been retried meanwhile.
            job = Job.lock(pk=job.pk)
            if job.status in JOB_OPEN:
                raise StillRuns
            Job.objects.filter(pk=job.pk).update(deleted_at=Now())
        return Response(deleted(job))
