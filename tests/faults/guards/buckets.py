"""No file is lost on its way to a bucket or out of it, and what is erased is what may be."""

from typing import Final

from tests.faults.guards.guard import Guard

_BUCKET: Final = "tests/stores/test_bucket.py"
_LOCKS: Final = "tests/stores/test_locks.py"
_PROOF: Final = "tests/stores/test_proof.py"
_MOVE: Final = "tests/stores/test_move.py"
_ERASURE: Final = "tests/videos/test_erasure.py"
_STORED: Final = "tests/videos/test_stored_bytes.py"
GUARDS: Final = (
    Guard(
        "copies that a job may have are not deleted",
        "videos.results.move:_move",
        "NotMoved",
        "Exception",
        _MOVE,
    ),
    Guard(
        "an altered video does not take the place of what was kept",
        "videos.results.move:_move",
        "_compare(job, found)",
        "pass",
        _MOVE,
    ),
    Guard(
        "a job does not take copies that were swept away",
        "videos.results.move:_take",
        "not are_there(copies.values(), stored_at)",
        "False",
        _MOVE,
    ),
    Guard(
        "a job that has other files by now keeps them",
        "videos.results.move:_take",
        "job.removed_at is not None or not copies.keys() <= set(now.values())",
        "job.removed_at is not None",
        _MOVE,
    ),
    Guard(
        "nothing moves to a folder that is not mounted",
        "videos.results.move:move_results",
        "require_media()",
        "pass",
        _MOVE,
    ),
    Guard(
        "a bucket that does not answer has lost nothing",
        "videos.results.refetch:is_missing",
        "return not is_in_bucket(str(job.video.name))",
        "return True",
        _BUCKET,
    ),
    Guard(
        "nothing is fetched that no bucket takes",
        "videos.results.media:_problem",
        "return bucket_problem(known)",
        "return ''",
        _BUCKET,
    ),
    Guard(
        "a bucket without our marker is not ours",
        "videos.results.bucket_proof:_of_marker",
        "Job.objects.filter(status=JobStatus.COMPLETED, video__startswith=folder_of(bucket)).exists()",
        "False",
        _PROOF,
    ),
    Guard(
        "the bucket of another database is not ours",
        "videos.results.bucket_proof:_of_marker",
        "found is not None",
        "False",
        _PROOF,
    ),
    Guard(
        "a bucket that refuses files is asked before the next file is fetched",
        "videos.results.keep:store_file",
        "doubt(settings.RESULT_BUCKET)",
        "pass",
        _PROOF,
    ),
    Guard(
        "a file that may be swept away is not taken from a bucket",
        "videos.results.keep:are_there",
        "0 <= time.time() - stored_at < ADOPTED_SECONDS",
        "True",
        _MOVE,
    ),
    Guard(
        "nothing is removed from a bucket that is not ours",
        "videos.retention.removal:_require_mounted",
        "if problem := removal_problem():\n    raise MediaUnusable(f'nothing can be removed: {problem}')",
        "",
        _PROOF,
    ),
    Guard(
        "jobs stay while their files cannot be removed from a bucket",
        "videos.retention.archive:archive_some",
        "(settings.RESULT_BUCKETS and removal_problem())",
        "False",
        _LOCKS,
    ),
    Guard(
        "a young file in a bucket is not swept away",
        "videos.retention.sweep:_sweep_bucket",
        "file.written_at < before",
        "True",
        _BUCKET,
    ),
    Guard(
        "an upload comes to an end",
        "videos.results.keep:_Sent.read",
        "now - self._began > settings.SORA_DOWNLOAD_SECONDS",
        "False",
        _BUCKET,
    ),
    Guard(
        "what is under way is not erased",
        "videos.erasure.account:erase",
        "require_erasable(user)",
        "pass",
        _ERASURE,
    ),
    Guard(
        "only the lines of the account are erased in the archive",
        "videos.erasure.archives:_is_of",
        "line['owner_id'] == owner",
        "True",
        _ERASURE,
    ),
    Guard(
        "bytes are counted once",
        "videos.usage.stored:count_stored",
        "Sum(here - F('stored_bytes'))",
        "Sum(here)",
        _STORED,
    ),
    Guard(
        "an account at its limit makes nothing more",
        "videos.lifecycle.create:ensure_room",
        "(stored := stored_bytes(owner)) >= settings.RESULT_BYTES_MAX",
        "False",
        _STORED,
    ),
)
