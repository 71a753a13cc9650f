"""A create through OpenAI's API is carried out once, for its owner alone."""

from typing import Final

from tests.faults.guards.guard import Guard

_SDK: Final = "tests/compat/test_openai_sdk.py"
_HTTP: Final = "tests/compat/test_openai.py"
GUARDS: Final = (
    Guard(
        "the retries of an SDK make one job",
        "compat.openai.repeats:_kept",
        "max(row[1]['counts']) < count",
        "False",
        f"{_SDK} -k repetitions",
    ),
    Guard(
        "a retry waits for the create that it repeats",
        "compat.openai.repeats:_take_turns",
        "connection.vendor == 'postgresql'",
        "False",
        f"{_HTTP} -k repetition",
    ),
    Guard(
        "equal creates are retried one by one",
        "compat.openai.repeats:_kept",
        "headers | {'counts': [*headers['counts'], count]}",
        "headers",
        f"{_HTTP} -k equal",
    ),
    Guard(
        "what was created long ago is not what a retry repeats",
        "compat.openai.repeats:_kept",
        "created_at__gt=begun - _WINDOW",
        "created_at__isnull=False",
        f"{_SDK} -k long_ago",
    ),
    Guard(
        "a video is nobody else's in OpenAI's API",
        "compat.openai.calling:VideoAPIView.jobs",
        "owned_jobs(self.owner(request)).filter(deleted_at=None)",
        "Job.objects.filter(deleted_at=None)",
        f"{_HTTP} -k nobody_elses",
    ),
    Guard(
        "only a key opens OpenAI's API",
        "compat.openai.calling:VideoAPIView",
        "authentication_classes = (ApiKeyAuthentication,)",
        "pass",
        f"{_HTTP} -k session",
    ),
    Guard(
        "a first try that was overtaken by its retry makes no second job",
        "compat.openai.repeats:_kept",
        "min(row[1]['counts']) > count and row[2] > begun",
        "False",
        f"{_HTTP} -k overtakes",
    ),
    Guard(
        "what is refused is not sent again by an SDK",
        "compat.openai.calling:VideoAPIView.handle_exception",
        "not isinstance(exc, DatabaseError)",
        "False",
        f"{_HTTP} -k refused_for_certain",
    ),
    Guard(
        "what was retried meanwhile is not deleted",
        "compat.openai.views:VideoView.delete",
        "Job.lock(pk=job.pk)",
        "job",
        f"{_HTTP} -k retried_meanwhile",
    ),
)
