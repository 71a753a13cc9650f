"""Erasing the batches of an account."""

from typing import Any

from django.db import transaction

from accounts.models import User
from batches.models import Batch, BatchEvent
from videos.erasure.blanks import BATCH


@transaction.atomic
def erase_batches(user: User, **_: Any) -> None:
    """Erases the names and metadata of an account's batches, and their history. Receives
    videos.signals.account_erased."""
    BatchEvent.objects.filter(batch__group__owner=user).delete()
    Batch.objects.filter(group__owner=user).update(**BATCH)
