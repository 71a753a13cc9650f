"""Where a finished video differs from what was submitted."""

from typing import Any, Final

from videos.reads.rows import JobRow, SubmissionRow

# Encoders round to whole frames, and some servers to groups of frames.
_SECONDS: Final = 0.5
_SHARE: Final = 0.1
# 23.976 is called 24.
_FPS: Final = 0.5


def differences(job: JobRow, submission: SubmissionRow) -> list[dict[str, Any]]:
    """Each difference with its `field`, what was `submitted`, and what is there (`found`)."""
    found = []
    # An extension begins with the video that it is made from.
    seconds = float(submission.request["seconds"]) + float(submission.request.get("source_seconds") or 0)
    if job.result_seconds is not None:
        most = max(_SECONDS, seconds * _SHARE)
        if abs(job.result_seconds - seconds) > most:
            found.append({"field": "duration", "submitted": seconds, "found": job.result_seconds})
    size = f"{job.width}x{job.height}"
    if job.width is not None and size != submission.request["size"]:
        found.append({"field": "size", "submitted": submission.request["size"], "found": size})
    fps = submission.request.get("fps")
    if fps is not None and job.result_fps is not None and abs(job.result_fps - fps) > _FPS:
        found.append({"field": "fps", "submitted": fps, "found": job.result_fps})
    audio = submission.request.get("audio")
    if audio is not None and job.result_audio is not None and job.result_audio != audio:
        found.append({"field": "audio", "submitted": audio, "found": job.result_audio})
    return found
