"""Signals of jobs and submissions for other apps."""

from typing import Final

from django.dispatch import Signal

job_ended: Final = Signal()
"""A job of the group `group_id` has ended, after the commit. Lost if the process dies then."""
job_reopened: Final = Signal()
"""A job of the group `group_id` that had ended is open again; sent in the transaction that makes it so,
under the job's lock. What a receiver raises ends that transaction."""
submission_moved: Final = Signal()
"""`submission` has left the state `before` for another one, and that is committed. Lost if the process dies
just then."""
account_erased: Final = Signal()
"""The jobs of the account `user` were erased, and the rest of it follows, unless a receiver raises."""
