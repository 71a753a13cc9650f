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
    One that is made from a video is at the upstream of that. It is the video with its key, if the list shows
    one; else any of its prompt and size may be.
    """
    keyed = {upstream.dialect.match_key(video): video for video in videos}
    shown = {key: video for key, video in keyed.items() if key is not None}
    found: dict[str, list[Job]] = defaultdict(list)
    prompts = [video.prompt for video in shown.values() if video.prompt]
    waiting = Job.objects.filter(status=JobStatus.PENDING).exclude(submissions__state__in=LIVE)
    anew = waiting.filter(source_job=None)
    for job in anew.filter(match_key__in=shown):
        found[job.match_key].append(job)
    elsewhere = anew.filter(fitted__prompt__in=prompts).exclude(upstream=upstream.name)
    for job in elsewhere.exclude(match_key__in=shown):
        key = _key_at(upstream, job)
        if key in shown:
            found[key].append(job)
    from_source = waiting.filter(source_job__isnull=False, upstream=upstream.name)
    for job in from_source.filter(fitted__prompt__in=prompts):
        possible = [key for key, video in shown.items() if _may_have_become(job, video)]
        for key in [job.match_key] if job.match_key in shown else possible:
            found[key].append(job)
    for jobs in found.values():
        jobs.sort(key=lambda job: (job.asked_at, job.pk))
    return found


def _may_have_become(job: Job, video: Video) -> bool:
    """Whether a job that is made from a video may be this one, by what is known of such videos."""
    fitted = job.fitted
    is_alike = video.prompt == fitted["prompt"] and video.size in {None, fitted["size"]}
    return is_alike and video.remixed_from in {None, fitted["source"]}


def _key_at(upstream: Upstream, job: Job) -> str:
    try:
        return upstream.fit(replace(asked_of(job), strict=False)).match_key
    except ValidationError:
        return ""
