"""Which errors each operation of the schema has, and an example of each: by status, then by operation."""

from typing import Final

from api.errors import DatabaseAway

SAYS: Final = {
    "400": (
        "The request is not valid.",
        "validation_failed",
        "duration: Ensure this value is less than or equal to 60.",
    ),
    "401": (
        "No key and no session, or one that opens nothing.",
        "unauthorized",
        "Authentication credentials were not provided.",
    ),
    "402": (
        "It costs more than a budget has left.",
        "budget_exceeded",
        "It costs 1.20 dollars, and the monthly budget of this account has 0.80 left until 2026-12-01 00:00 "
        "UTC. Ask for less, wait, or have the budget raised.",
    ),
    "403": (
        "The key's scope does not include it, or the cookie came without the CSRF token.",
        "insufficient_scope",
        "This needs an API key with the scope write; the one that was sent has read. Send another.",
    ),
    "404": ("The caller has none of this id.", "not_found", "Not found."),
    "409": (
        "The job's status does not allow it.",
        "job_not_cancellable",
        "The job is completed; only a pending or processing job can be cancelled.",
    ),
    "410": (
        "The file was kept, and is not there any more.",
        "file_missing",
        "The file is no longer in this service's media; ask its operator to restore it.",
    ),
    "411": (
        "The body has no length.",
        "length_required",
        "Send the body with a Content-Length, not in chunks.",
    ),
    "412": (
        "The file is not the one that If-Match or If-Unmodified-Since names.",
        "precondition_failed",
        "The file is not, or is no longer, the one that the request names. Fetch it anew.",
    ),
    "413": (
        "The body is too large.",
        "payload_too_large",
        "The body has 10485760 bytes; at most 1048576 are taken.",
    ),
    "415": (
        "The body is not JSON.",
        "unsupported_media_type",
        'Unsupported media type "text/plain" in request.',
    ),
    "416": (
        "The range begins after the end of the file.",
        "range_not_satisfiable",
        "The file has 1784 bytes, and the range has none of them.",
    ),
    "422": (
        "The Idempotency-Key came before, with another request; or there is a budget, and no listed price.",
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request; a new request needs a new key.",
    ),
    "429": (
        "Too many requests or waiting jobs; Retry-After says when to go on.",
        "rate_limited",
        "Request was throttled. Expected available in 12 seconds.",
    ),
    "503": (
        "The database or the upstream does not answer; Retry-After says when to try again.",
        "database_unavailable",
        str(DatabaseAway.default_detail),
    ),
}
# They make a video from that of a job.
FROM_SOURCE: Final = ("remixVideo", "editVideo", "extendVideo")
MORE: Final = {
    "cancelVideo": ["409"],
    "retryVideo": ["402", "409", "422"],
    "createVideo": ["402", "409", "422"],
    **{name: ["402", "409", "422"] for name in FROM_SOURCE},
    "generateVideo": ["402", "409", "422"],
    "createBatch": ["402", "409", "422"],
    "uploadBatch": ["402", "409", "422"],
    "retryBatch": ["402", "409", "422"],
    "cancelBatch": ["409"],
    "pauseBatch": ["409"],
    "resumeBatch": ["409"],
    "syncVideo": ["409"],
    "getVideoContent": ["410", "412", "416"],
    "deleteVideoContent": ["409"],
    "getBatchContent": ["412", "416"],
}
VALIDATE: Final = {"createVideo", "generateVideo", "createBatch", "uploadBatch", *FROM_SOURCE}
# If a status means an error of the operation itself.
_STORAGE_FULL: Final = (
    "The account's videos have reached their limit of bytes.",
    "storage_full",
    "The videos of this account have 21,474,836,480 bytes, and new ones are made below 21,474,836,480; "
    "remove some with DELETE /api/v1/videos/{id}/content.",
)
_NOT_OFFERED: Final = (
    "The upstream that rendered the video makes no such video from it, or does not have it any more; or the "
    "account's videos have reached their limit of bytes.",
    "operation_not_offered",
    "gpu-box, which rendered this video, has no remix of it (it makes no video from another one).",
)
OWN: Final = {
    **{(name, "409"): _STORAGE_FULL for name in VALIDATE},
    **{(name, "409"): _NOT_OFFERED for name in FROM_SOURCE},
    ("getGeneratedVideo", "403"): (
        "The job is somebody else's, or the key's scope does not include it.",
        "forbidden",
        "This job belongs to somebody else.",
    ),
    ("getVideoContent", "403"): (
        "The link has ended, or is not as it was made.",
        "link_expired",
        "This link has ended. Read the job, which shows a new one each time.",
    ),
    ("register", "403"): (
        "There is no registration here, or a page of another site asks.",
        "registration_closed",
        "Nobody can register here. Ask who runs this service for an account.",
    ),
    ("logIn", "401"): (
        "Wrong username or password.",
        "wrong_credentials",
        "The username or the password is wrong.",
    ),
    ("logIn", "429"): (
        "Too many failed log-ins, or too many requests; Retry-After says when to go on.",
        "locked_out",
        "Too many log-ins have failed. Wait as long as Retry-After says, then try again.",
    ),
    ("refreshSession", "401"): (
        "The refresh token is missing, expired, forged or used before, or the session has ended.",
        "unauthorized",
        "The session's token is not valid, or its session has ended. Log in again.",
    ),
} | {
    (operation, "403"): (
        "A page of another site asks, or the CSRF token is missing.",
        "csrf_failed",
        "CSRF token missing. Send the csrfToken of /api/auth/me as X-CSRFToken, with its cookie.",
    )
    for operation in ("logIn", "logOut", "refreshSession")
}
WITHOUT: Final = {"register": {"401"}, "logOut": {"401"}}
