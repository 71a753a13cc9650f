"""No file that a job uses is removed, and none is opened by whoever it is not meant for."""

from typing import Final

from tests.faults.guards.guard import Guard

_REMOVAL: Final = "tests/videos/test_removal.py"
_LINKS: Final = "tests/videos/test_links.py"
GUARDS: Final = (
    Guard(
        "a file that a job has taken meanwhile is not swept away",
        "videos.retention.sweep:remove_unused",
        "file.name in used_names([job.pk])",
        "False",
        _REMOVAL,
    ),
    Guard(
        "a file without a job is not swept away",
        "videos.retention.sweep:remove_unused",
        "if job is None or file.name in used_names([job.pk]) or not _needs_no_other(job, file):\n"
        "    return False",
        "if job and (file.name in used_names([job.pk]) or not _needs_no_other(job, file)):\n    return False",
        _REMOVAL,
    ),
    Guard(
        "a file of an old backup is not swept away",
        "videos.retention.sweep:remove_unused",
        "not _needs_no_other(job, file)",
        "",
        _REMOVAL,
    ),
    Guard(
        "a young file is not swept away",
        "videos.retention.sweep:sweep_results",
        "file.written_at < before",
        "True",
        _REMOVAL,
    ),
    Guard(
        "a job completed with others does not take a file that was swept away",
        "videos.results.complete:_write",
        "each.kept.is_there()",
        "",
        _REMOVAL,
    ),
    Guard(
        "a job does not take a file that was swept away",
        "videos.results.complete:_complete_alone",
        "not kept.is_there()",
        "False",
        _REMOVAL,
    ),
    Guard(
        "files that were removed do not come back",
        "videos.results.refetch:_replace",
        "job.removed_at is None and job.video.name == missing",
        "job.video.name == missing",
        _REMOVAL,
    ),
    Guard(
        "what was removed is not fetched again",
        "videos.results.refetch:is_missing",
        "job.removed_at is not None",
        "",
        _REMOVAL,
    ),
    Guard(
        "an owner does not remove what is on hold",
        "videos.retention.removal:remove_result",
        "if job.on_hold:\n    raise ResultOnHold",
        "",
        _REMOVAL,
    ),
    Guard(
        "no retention removes what is on hold",
        "videos.retention.removal:_remove_some",
        "on_hold=False",
        "",
        _REMOVAL,
    ),
    Guard(
        "the archive does not remove what is on hold",
        "videos.retention.archive:_may_go",
        "~files_stay()",
        "",
        "tests/videos/test_retention.py",
    ),
    Guard(
        "nothing is swept in a folder that is not ours",
        "videos.tasks:clean_results",
        "not removal_problem()",
        "True",
        _REMOVAL,
    ),
    Guard(
        "a link opens only what it names",
        "videos.api.content.links:LinkAuthentication.authenticate",
        'not is_genuine(job, variant, int(expires), query["signature"])',
        "False",
        _LINKS,
    ),
    Guard(
        "a link ends",
        "videos.api.content.links:LinkAuthentication.authenticate",
        "if has_ended(int(expires)):\n    refusal = LinkExpired()",
        "",
        _LINKS,
    ),
    Guard(
        "a link removes nothing",
        "videos.api.content.links:LinkAuthentication.authenticate",
        "request.method not in SAFE_METHODS",
        "",
        _REMOVAL,
    ),
    Guard(
        "the links of an account that was closed open nothing",
        "videos.api.content.view:_linked",
        "owner__is_active=True",
        "",
        _LINKS,
    ),
)
