"""After too many failed log-ins, log-ins are refused for a while, even with the right password.

The counts are in the database: a cache may be emptied, and each process may have its own.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import LoginAttempts, User


@dataclass(frozen=True, slots=True)
class Rule:
    """The number of failures that lock, the time over which they count, and the longest lock."""

    failures: int
    window: timedelta
    longest: timedelta


# A username from one address: a person who mistypes, or a guesser.
PAIR: Final = Rule(5, timedelta(days=1), timedelta(hours=1))
# One address with any usernames; an office may share it.
ADDRESS: Final = Rule(50, timedelta(hours=1), timedelta(minutes=15))
# One username, from wherever. Not for an address from which it has logged in: there nobody else's failures
# lock a person out.
USERNAME: Final = Rule(50, timedelta(hours=1), timedelta(minutes=15))

_FIRST_LOCK: Final = timedelta(minutes=1)
_ADDRESS_KNOWN_FOR: Final = timedelta(days=30)
_FORGOTTEN_AT_ONCE: Final = 100


class LockedOut(APIException):
    """429: too many log-ins failed; `wait` seconds are left."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "locked_out"

    def __init__(self, wait: timedelta) -> None:
        super().__init__("Too many log-ins have failed. Wait as long as Retry-After says, then try again.")
        self.wait = wait.total_seconds()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A log-in that counts as failed until it succeeds, and the locks that it has set, by subject."""

    pair: str
    locks: dict[str, datetime | None]


def admit(username: str, address: str, *, now: datetime) -> Attempt:
    """Counts a try before the password is checked, so that many at once gain nothing. Raises LockedOut."""
    # Lowered as the look-up of the account does it. Python lowers some letters otherwise, and each such
    # spelling of a name would have a count of its own.
    name = User.objects.lowered(username)
    pair, of_address, of_name = _subject(name, address), _subject("", address), _subject(name, "")
    rules = {pair: PAIR, of_address: ADDRESS, of_name: USERNAME}
    _forget(now)
    # A refused try is rolled back: it counts for nothing and leaves no rows.
    with transaction.atomic():
        # Made if they are missing, and locked. Always in the order of the subjects: of two tries neither
        # waits for the other while it holds what that one needs.
        LoginAttempts.objects.bulk_create(
            [
                LoginAttempts(subject=subject, counted_from=now, forget_at=now + rules[subject].window)
                for subject in sorted(rules)
            ],
            update_conflicts=True,
            unique_fields=["subject"],
            update_fields=["forget_at"],
        )
        rows = LoginAttempts.objects.in_bulk(rules)
        if rows[pair].succeeded_at is not None:
            del rows[of_name]
        locks = [row.locked_until for row in rows.values() if row.locked_until and row.locked_until > now]
        if locks:
            raise LockedOut(max(locks) - now)
        return Attempt(pair, {subject: _count(row, rules[subject], now) for subject, row in rows.items()})


def succeed(attempt: Attempt, *, now: datetime) -> None:
    """Uncounts the try, and forgets the failures of its username and address."""
    with transaction.atomic():
        for subject, lock in sorted(attempt.locks.items()):
            row = LoginAttempts.objects.filter(subject=subject)
            if subject == attempt.pair:
                known = {"succeeded_at": now, "forget_at": now + _ADDRESS_KNOWN_FOR}
                row.update(failures=0, locked_until=None, **known)
                continue
            row.filter(failures__gt=0).update(failures=F("failures") - 1)
            if lock is not None:
                # Not if another try has locked since.
                row.filter(locked_until=lock).update(locked_until=None)


def _count(row: LoginAttempts, rule: Rule, now: datetime) -> datetime | None:
    """Adds a failure and returns the lock that it sets, if it does."""
    if row.counted_from + rule.window <= now:
        row.failures, row.counted_from = 0, now
    row.failures += 1
    row.locked_until = None
    if row.failures >= rule.failures:
        # Bounded before it is doubled: a timedelta overflows.
        doubled = min(row.failures - rule.failures, 10)
        row.locked_until = now + min(_FIRST_LOCK * 2**doubled, rule.longest)
    row.forget_at = max(
        row.counted_from + rule.window, row.succeeded_at + _ADDRESS_KNOWN_FOR if row.succeeded_at else now
    )
    row.save()
    return row.locked_until


def _forget(now: datetime) -> None:
    stale = LoginAttempts.objects.filter(forget_at__lte=now).order_by("forget_at")
    with transaction.atomic():
        # Those that another try has locked are left to a later one.
        found = stale.select_for_update(skip_locked=True).values_list("pk", flat=True)
        LoginAttempts.objects.filter(pk__in=list(found[:_FORGOTTEN_AT_ONCE])).delete()


def _subject(username: str, address: str) -> str:
    return hashlib.sha256(f"{len(username)} {username} {address}".encode()).hexdigest()
