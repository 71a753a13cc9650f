"""A create through OpenAI's API is carried out once, for its owner alone."""

from typing import Final

from tests.faults.guards.guard import Guard

_SDK: Final = "tests/compat/test_openai_sdk.py"
_HTTP: Final = "tests/compat/test_openai.py"
GUARDS: Final = (
    Guard(
        "the retries of an SDK make one job",
        "compat.openai.repeats:_kept",
        "int(each.headers['count']) < count",
        "False",
        f"{_SDK} -k repetitions",
    ),
    Guard(
        "a retry waits for the create that it repeats",
        "compat.openai.repeats:carried_out_once",
        "User.objects.select_for_update(no_key=True)",
        "User.objects",
        f"{_HTTP} -k repetition",
    ),
    Guard(
        "equal creates are retried one by one",
        "compat.openai.repeats:_kept",
        "each.headers['count'] = str(count)",
        "pass",
        f"{_HTTP} -k equal",
    ),
    Guard(
        "what was created long ago is not what a retry repeats",
        "compat.openai.repeats:_kept",
        "created_at__gt=Now() - _WINDOW",
        "created_at__isnull=False",
        f"{_SDK} -k long_ago",
    ),
    Guard(
        "a video is nobody else's in OpenAI's API",
        "compat.openai.views:_View._jobs",
        "owned_by(Job.objects.filter(deleted_at=None), self._owner(request))",
        "Job.objects.filter(deleted_at=None)",
        f"{_HTTP} -k nobody_elses",
    ),
    Guard(
        "only a key opens OpenAI's API",
        "compat.openai.views:_View",
        "authentication_classes = (ApiKeyAuthentication,)",
        "pass",
        f"{_HTTP} -k session",
    ),
    Guard(
        "what runs is not deleted",
        "compat.openai.views:VideoView.delete",
        "job.status in JOB_OPEN",
        "False",
        f"{_SDK} -k deleted",
    ),
)
