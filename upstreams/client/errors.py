"""What can go wrong with the upstream, named by what the caller may do next.

Every attribute has a default, so that these exceptions survive pickling (a process pool, a Celery result).
Their messages carry neither the API key nor the prompt.
"""


class SoraError(Exception):
    """Any failure to get an answer from the upstream, or any refusal by it."""


class NotSent(SoraError):
    """The request was provably not sent: it may be repeated."""


class OutcomeUnknown(SoraError):
    """The upstream may have accepted the create: never repeat it blindly.

    `answered` is True when an HTTP error response was received (a refusal is then likely, but not certain);
    `succeeded` when the status was a 2xx: it was accepted, but its id cannot be read. `retry_after`: how many
    seconds it asked us to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        answered: bool = False,
        succeeded: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.answered = answered
        self.succeeded = succeeded
        self.retry_after = retry_after


class Busy(SoraError):
    """The upstream refused for now (429): repeat after `retry_after` seconds, if it named a time."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Misconfigured(SoraError):
    """Key, account or URL is not accepted (401, 402, 403, or unusable here, then `status` is None).

    Nothing is sent until the configuration is corrected.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Rejected(SoraError):
    """The upstream refuses this request (another 4xx): repeating does not help."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param


class NotFound(Rejected):
    """The upstream knows no such video, or no such path (404)."""

    def __init__(
        self, message: str, *, status: int = 404, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, status=status, code=code, param=param)


class Unavailable(SoraError):
    """A read or a delete got no usable answer, its retries included: ask again later.

    `retry_after` is in seconds, if the upstream named a time.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotPaged(Unavailable):
    """The list ignores the cursor and repeats the page that ends at it, so the rest cannot be read."""
