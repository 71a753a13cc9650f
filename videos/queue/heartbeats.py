"""Heartbeats of the processes that do the work."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import DatabaseError, connections
from django.db.models import Case, F, Subquery, Value, When

from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from videos.models import Heartbeat

logger = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3.0
# A clock that is off by more is said to be. Messages of beat bear ten minutes (MESSAGE_SECONDS).
_OFFSET_SECONDS: Final = 5.0
# Three in a row are missing.
STALE_AFTER: Final = timedelta(seconds=10)
WORKERS: Final = (Heartbeat.Role.WORKER, Heartbeat.Role.WORK)


def record(role: Heartbeat.Role, *, worked: bool) -> None:
    """Records that a process of this role runs now; `worked`: that it has just done its work."""
    now = database_now()
    _compare_clocks(role, now)
    changes: dict[str, object] = {"alive_at": now}
    if worked:
        unbroken = When(worked_at__gte=now - STALE_AFTER, then=F("working_since"))
        changes |= {"worked_at": now, "working_since": Case(unbroken, default=Value(now))}
    if not Heartbeat.objects.filter(role=role).update(**changes):
        first = {"alive_at": now} | ({"worked_at": now, "working_since": now} if worked else {})
        Heartbeat.objects.get_or_create(role=role, defaults=first)


_off: dict[Heartbeat.Role, bool] = {}


def _compare_clocks(role: Heartbeat.Role, now: datetime) -> None:
    """Says so, once, if the clock of this machine and that of the database have drifted apart."""
    offset = (datetime.now(UTC) - now).total_seconds()
    is_off = abs(offset) > _OFFSET_SECONDS
    if is_off and not _off.get(role):
        ahead = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'}"
        logger.warning(
            "The clock of this %s is %s the database's. Work goes on; set the clocks by NTP.", role, ahead
        )
    elif not is_off and _off.get(role):
        logger.info("The clock of this %s agrees with the database's again.", role)
    _off[role] = is_off


def clock_and_last_work(provider: Provider) -> tuple[datetime, datetime | None]:
    """The database's time, and when work was last done (None if never), in one statement."""
    worked = Heartbeat.objects.filter(role__in=WORKERS, worked_at__isnull=False).order_by("-worked_at")
    found: tuple[datetime, datetime | None] = Provider.objects.values_list(
        in_database(), Subquery(worked.values("worked_at")[:1])
    ).get(pk=provider.pk)
    return found


class Pulse:
    """Reports for a process from a thread of its own, which neither the broker nor a long task delays.

    At each beat, `works` says whether the process has worked since the last one, and `alive` whether its main
    loop still runs.
    """

    def __init__(
        self,
        role: Heartbeat.Role,
        *,
        works: Callable[[], bool] = lambda: False,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._role = role
        self._works = works
        self._alive = alive
        self._stopping = threading.Event()

    def start(self) -> None:
        """Starts a daemon thread."""
        threading.Thread(target=self._run, name=f"pulse-{self._role}", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread after its present beat."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            self.beat()
            if self._stopping.wait(EVERY_SECONDS):
                return

    def beat(self) -> None:
        """Reports once. If the database is down, only this beat is lost."""
        try:
            if self._alive():
                record(self._role, worked=self._works())
        except DatabaseError as error:
            logger.debug("No heartbeat of %s: %s", self._role, error)
        except Exception:
            logger.exception("No heartbeat of %s.", self._role)
        finally:
            # A child that is forked now must not inherit the connection.
            connections.close_all()
