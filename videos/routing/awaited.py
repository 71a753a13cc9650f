"""Waiting jobs that a video of nobody may have been made for."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from rest_framework.exceptions import ValidationError

from upstreams.client.types import Video
from upstreams.registry import Upstream
from videos.models import Job
from videos.routing.refit import asked_of
from videos.states import LIVE, JobStatus


def awaited(videos: Iterable[Video], upstream: Upstream) -> dict[str, list[Job]]:
    """By the match keys of these videos at their upstream, the waiting jobs that ask for just that, oldest
    first.

    A job that is fitted to another upstream counts as well: a restored backup does not know where it went.
    """
    shown = {upstream.dialect.match_key(video): video.prompt for video in videos}
    keys = {key for key in shown if key is not None}
    found: dict[str, list[Job]] = defaultdict(list)
    waiting = Job.objects.filter(status=JobStatus.PENDING).exclude(submissions__state__in=LIVE)
    for job in waiting.filter(match_key__in=keys):
        found[job.match_key].append(job)
    prompts = [prompt for key, prompt in shown.items() if key is not None and prompt]
    elsewhere = waiting.filter(fitted__prompt__in=prompts).exclude(upstream=upstream.name)
    for job in elsewhere.exclude(match_key__in=keys):
        key = _key_at(upstream, job)
        if key in keys:
            found[key].append(job)
    for jobs in found.values():
        jobs.sort(key=lambda job: (job.asked_at, job.pk))
    return found


def _key_at(upstream: Upstream, job: Job) -> str:
    try:
        return upstream.fit(replace(asked_of(job), strict=False)).match_key
    except ValidationError:
        return ""
