"""Signals of calls to an upstream for other apps."""

from typing import Final

from django.dispatch import Signal

upstream_called: Final = Signal()
"""A call has ended: `call` (create, retrieve, list, delete or download), `seconds`, and `error`: the name of
the SoraError, or empty. Sent in the thread that called; a receiver does nothing that may wait."""
