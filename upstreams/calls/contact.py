"""Records when the upstream last answered a call. /ready reads this record and calls nobody."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, Literal

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q

from api.logs.durations import milliseconds
from api.logs.events import LogEvent
from upstreams.client import errors
from upstreams.client.client import SoraClient
from upstreams.client.files.downloads import Content
from upstreams.client.types import CreateRequest, Video, VideoPage
from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from upstreams.signals import upstream_called

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# The wall clock of a call that only asks whether the upstream is there.
_PROBE_SECONDS: Final = 2.0
# These are no answer: it was not reached, not understood, or knows neither us nor the address.
_NO_ANSWER: Final = (errors.NotSent, errors.OutcomeUnknown, errors.Misconfigured, errors.Unavailable)


class _Noted:
    """The last answers that this process has seen and not yet written, by upstream."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answered_at: dict[str, float] = {}


_noted = _Noted()


def note_answer(name: str) -> None:
    """Notes that the upstream has just given a usable answer."""
    with _noted.lock:
        _noted.answered_at[name] = time.monotonic()


def write_down() -> None:
    """Writes the last answers to the providers' rows.

    Called between tasks, not after each call, so that the outcome of a create is recorded first.
    """
    with _noted.lock:
        noted, _noted.answered_at = _noted.answered_at, {}
    for name, heard in noted.items():
        _write(name, heard)


def _write(name: str, heard: float) -> None:
    try:
        at = in_database(heard - time.monotonic())
        older = Q(answered_at=None) | Q(answered_at__lt=at)
        Provider.objects.filter(older, name=name).update(answered_at=at)
    except DatabaseError as error:
        logger.debug("The contact with %s is not kept: %s", name, error)


def is_silent(provider: Provider) -> bool:
    """Whether its last answer is as old as SORA_CONTACT_SECONDS, and nobody has asked it meanwhile."""
    before = database_now() - timedelta(seconds=settings.SORA_CONTACT_SECONDS)
    is_old = provider.answered_at is None or provider.answered_at <= before
    return is_old and (provider.contact_due_at is None or provider.contact_due_at <= database_now())


def ask_if_silent(name: str, client: SoraClient) -> bool:
    """Asks whether the upstream answers, if it has not answered for SORA_CONTACT_SECONDS.

    Returns whether it asked. Does not ask if the upstream is paused or has asked us to wait.
    """
    every = settings.SORA_CONTACT_SECONDS
    Provider.objects.get_or_create(name=name)
    due = Provider.objects.filter(
        Q(answered_at=None) | Q(answered_at__lte=in_database(-every)),
        Q(contact_due_at=None) | Q(contact_due_at__lte=in_database()),
        Q(list_backoff_until=None) | Q(list_backoff_until__lte=in_database()),
        name=name,
        paused_at=None,
    )
    # Only one worker asks.
    if not due.update(contact_due_at=in_database(every)):
        return False
    try:
        client.probe(deadline=_PROBE_SECONDS)
    except errors.Misconfigured as error:
        # Soon after the start, before the first create: its words say what to set.
        logger.error("%s does not serve us as it is configured: %s", name, error)
    except _NO_ANSWER as error:
        logger.debug("%s gives no answer: %s", name, error)
    except errors.SoraError:
        note_answer(name)
    else:
        note_answer(name)
    write_down()
    return True


class ObservedClient(SoraClient):
    """The client of the upstream of this name, with each call timed and each answer noted."""

    def __init__(self, *args: Any, name: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._name = name

    def create(self, request: CreateRequest, *, deadline: float | None = None) -> Video:
        with _observed(self._name, "create"):
            return super().create(request, deadline=deadline)

    def retrieve(self, video_id: str, *, deadline: float | None = None) -> Video:
        with _observed(self._name, "retrieve"):
            return super().retrieve(video_id, deadline=deadline)

    def list(
        self,
        after: str | None = None,
        limit: int = 100,
        order: Literal["asc", "desc"] = "desc",
        *,
        deadline: float | None = None,
    ) -> VideoPage:
        with _observed(self._name, "list"):
            return super().list(after, limit, order, deadline=deadline)

    def delete(self, video_id: str) -> None:
        with _observed(self._name, "delete"):
            super().delete(video_id)

    @contextmanager
    def download(
        self, video_id: str, variant: str = "video", *, deadline: float | None = None
    ) -> Iterator[Content]:
        with (
            _observed(self._name, "download"),
            super().download(video_id, variant, deadline=deadline) as content,
        ):
            yield content


@contextmanager
def _observed(name: str, call: str) -> Iterator[None]:
    begun = time.monotonic()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        _tell(name, call, time.monotonic() - begun, error)


def _tell(name: str, call: str, seconds: float, error: BaseException | None) -> None:
    # Any other exception is the caller's own, such as a disk that is full.
    if error is not None and not isinstance(error, errors.SoraError):
        return
    if not isinstance(error, _NO_ANSWER):
        note_answer(name)
    said: dict[str, Any] = {"call": call, "seconds": seconds, "error": type(error).__name__ if error else ""}
    upstream_called.send_robust(ObservedClient, **said)
    # Polls come all the time, and whoever asks says what it cannot do without an answer.
    log = logger.debug if call in {"retrieve", "list"} else logger.info
    fields = {"error": said["error"]} if error else {}
    log(LogEvent.CALL, call=call, provider=name, duration_ms=milliseconds(seconds), **fields)
