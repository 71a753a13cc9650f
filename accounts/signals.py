"""Signals of accounts for other apps."""

from django.dispatch import Signal

# A revoked key's waiting jobs may be sent all the same. Gives the `key`.
jobs_released = Signal()
