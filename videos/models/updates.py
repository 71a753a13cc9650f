"""Instances after an update of their rows."""

from typing import Any


def after_update(row: Any, won: int, **fields: Any) -> None:
    """Brings an instance up to date after its row was updated, if it was, with these values.

    What was read under the lock has all other values of the row already.
    """
    if row.is_locked and won:
        for name, value in fields.items():
            setattr(row, name, value)
    else:
        row.refresh_from_db()
