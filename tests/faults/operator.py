"""A person who decides what the upstream's list cannot tell, by the upstream's own bill."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.e2e.processes import run
from tests.faults.books import ledger
from tests.faults.stack import Stack

# Past the window in which the service looks by itself.
_OLD_ENOUGH = timedelta(seconds=20)
_WAITING = (
    "SELECT job_id, number, request->>'prompt', created_at FROM videos_submission"
    " WHERE state = 'unknown' AND now() - created_at > %s ORDER BY created_at"
)
_STOPPED = "SELECT name FROM upstreams_provider WHERE stopped_at IS NOT NULL"


class Operator:
    """Runs the commands of docs/running.md; counts what it decided."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.decided: Counter[str] = Counter()

    def decide(self) -> bool:
        """Decides all that waits for a person now; whether there was anything."""
        before = self.decided.total()
        for (name,) in self._stack.ask(_STOPPED):
            self._command("resume_provider", name, "--trust-list")
        waiting = self._stack.ask(_WAITING, _OLD_ENOUGH)
        if not waiting:
            return self.decided.total() > before
        owned = {video_id for (video_id,) in self._stack.ask("SELECT upstream_id FROM videos_submission")}
        bill = [entry for entry in ledger(self._stack) if entry["id"] not in owned]
        for job, number, prompt, begun in waiting:
            its = next((entry for entry in bill if _may_be(entry, prompt, begun)), None)
            if its is None:
                self._command("declare_absent", f"{job}/{number}")
            else:
                bill.remove(its)
                self._command("adopt", f"{job}/{number}", its["id"], "--force")
        return True

    def _command(self, name: str, *arguments: str) -> None:
        run(["manage.py", name, *arguments], self._stack.settings)
        self.decided[name] += 1


def _may_be(entry: dict[str, Any], prompt: str, begun: datetime) -> bool:
    # The bill is dated by the real clock, whatever the one shown to callers says.
    made = datetime.fromtimestamp(entry["created_at"], UTC)
    return entry["prompt"] == prompt and made > begun - timedelta(seconds=2)
