"""Wraps every call with which a journey leaves the process."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.core.files.storage import FileSystemStorage

# Modules that make calls on behalf of others.
_CARRIERS = {"listing", "identity"}
# Modules of one journey.
_PARTS = {
    **dict.fromkeys(("poll", "sweep", "walk", "completed", "observe"), "follow"),
    **dict.fromkeys(("fetch", "keep"), "store"),
    **dict.fromkeys(("post", "outcome", "submit"), "send"),
    "make": "draw",
}
_JOURNEYS = (
    *("videos.lifecycle.", "videos.previews.", "videos.queue.", "videos.reconciliation."),
    "videos.results.",
)
_OTHERS = {
    "videos.tasks": "dispatch",
    "videos.queue.wake": "hints",
    "accounts.idempotency": "once",
}
# A call that is made by another call is no boundary of its own.
_within = threading.local()


class Armed(AppConfig):
    """Has to be the last app: the others must be there to be wrapped."""

    name = "tests.faults.armed"

    def ready(self) -> None:
        """Wraps the upstream's client, the storage of files, and the broker."""
        from upstreams.client.client import SoraClient
        from videos import tasks
        from videos.queue import wake

        for call in ("create", "retrieve", "list", "delete", "probe"):
            setattr(SoraClient, call, _wrapped(call, getattr(SoraClient, call)))
        SoraClient.download = _wrapped_opening("download", SoraClient.download)  # type: ignore[method-assign]
        FileSystemStorage.save = _wrapped("save", FileSystemStorage.save)  # type: ignore[method-assign]
        # What runs once a commit is made, while its caller still waits for the answer.
        wake._Hints.leave = _wrapped("hint", wake._Hints.leave)  # type: ignore[method-assign]
        wake.publish = tasks.publish = _wrapped("publish", wake.publish)


def _wrapped(call: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if getattr(_within, "call", ""):
            return function(*args, **kwargs)
        journey = _journey()
        pass_point(f"{journey}.before-{call}")
        _within.call = call
        try:
            return function(*args, **kwargs)
        finally:
            _within.call = ""
            pass_point(f"{journey}.after-{call}")

    return wrapper


def _wrapped_opening(call: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        journey = _journey()
        pass_point(f"{journey}.before-{call}")
        with function(*args, **kwargs) as opened:
            yield opened
        pass_point(f"{journey}.after-{call}")

    return wrapper


def _journey() -> str:
    """The module of a journey on whose behalf the call is made; else that of the tasks or hints."""
    frame = sys._getframe(2)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        last = name.rpartition(".")[2]
        if name in _OTHERS:
            return _OTHERS[name]
        if name.startswith(_JOURNEYS) and last not in _CARRIERS:
            return _PARTS.get(last, last)
        frame = frame.f_back  # type: ignore[assignment]
    return "none"


def pass_point(name: str) -> None:
    """Notes that the point was passed, and kills the process if it is armed."""
    folder = Path(os.environ["TAKEONE_CRASH_FOLDER"])
    (folder / "passed" / name).touch()
    try:
        (folder / "armed" / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
