"""A person who decides what the upstream's list cannot tell, by the upstream's own bill."""

import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.e2e.processes import run
from tests.faults.books import ledger, unowned
from tests.faults.stack import Stack

# Past the window in which the service looks by itself.
_OLD_ENOUGH = timedelta(seconds=20)
_WAITING = (
    "SELECT job_id, number, request->>'prompt', created_at FROM videos_submission"
    " WHERE state = 'unknown' AND now() - created_at > %s ORDER BY created_at"
)
# What the sign of an upstream that shows videos which the database does not know names.
_TO_RECOVER = "manage.py recover"
_UNRECOGNIZED = "SELECT name FROM upstreams_provider WHERE unrecognized_at IS NOT NULL"
_STOPPED = "SELECT name, stop_reason FROM upstreams_provider WHERE stopped_at IS NOT NULL"


class Operator:
    """Runs the commands of docs/running.md and docs/backups.md; counts what it decided."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.decided: Counter[str] = Counter()
        # Set while the upstream has lost its videos, until that is accepted.
        self.knows_of_loss = threading.Event()
        # By job and number, the creates that were paid and lost before their ids were known.
        self.lost: dict[tuple[str, int], int] = {}

    def watch(self, ends: threading.Event) -> None:
        """Lets a stopped upstream go on, as soon as it is seen, until the event is set."""
        while not ends.wait(1):
            # Everything may be down just now, a command be killed, or the list not be read.
            with suppress(psycopg.Error, pytest.fail.Exception):
                self.resume()

    def resume(self) -> None:
        """Ends what an upstream was stopped for."""
        for name, reason in self._stack.ask(_STOPPED):
            if _TO_RECOVER in reason:
                self.recover(name)
            else:
                self._command("resume_provider", name, "--trust-list")
        for (name,) in self._stack.ask(_UNRECOGNIZED) if self.knows_of_loss.is_set() else ():
            self._command("resume_provider", name, "--accept-losses")
            self.knows_of_loss.clear()

    def recover(self, name: str) -> None:
        """What docs/backups.md has an operator do once a restored deployment runs again."""
        self._command("recover", "--provider", name)
        self._command("recover", "--provider", name, "--apply")
        self._command("recover", "--provider", name, "--apply", "--all-foreign")

    def decide(self) -> bool:
        """Decides all that waits for a person now; whether there was anything."""
        before = self.decided.total()
        self.resume()
        waiting = self._stack.ask(_WAITING, _OLD_ENOUGH)
        if not waiting:
            return self.decided.total() > before
        bill = unowned(self._stack, ledger(self._stack), self.lost)
        for job, number, prompt, begun in waiting:
            its = next((entry for entry in bill if _may_be(entry, prompt, begun)), None)
            # One that is refused is tried again: its id may be that of another which has not ended.
            with suppress(pytest.fail.Exception):
                if its is None:
                    self._command("declare_absent", f"{job}/{number}")
                    continue
                bill.remove(its)
                if its["deleted"]:
                    self._command("declare_lost", f"{job}/{number}")
                    self.lost[str(job), number] = its["number"]
                else:
                    self._command("adopt", f"{job}/{number}", its["id"], "--force")
        return True

    def _command(self, name: str, *arguments: str) -> None:
        run(["manage.py", name, *arguments], self._stack.settings)
        self.decided[name] += 1


def _may_be(entry: dict[str, Any], prompt: str, begun: datetime) -> bool:
    # The bill is dated by the real clock, whatever the one shown to callers says.
    made = datetime.fromtimestamp(entry["created_at"], UTC)
    return entry["prompt"] == prompt and made > begun - timedelta(seconds=2)
