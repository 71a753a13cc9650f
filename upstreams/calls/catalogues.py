"""Reads again, from time to time, what an upstream tells of its models itself."""

import logging
from typing import Final

from django.db.models import Q

from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from upstreams.offer.catalogue import Model
from upstreams.offer.openrouter import models_of
from upstreams.offer.stored import StoredModels, as_stored
from upstreams.registry import Upstream

logger = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 3_600
_AGAIN_SECONDS: Final = 30


def refresh_if_due(upstream: Upstream) -> bool:
    """Reads its models and keeps them, if that is due. Returns whether it did.

    If it cannot be read, or lists no model that can be asked for, the models stay as they were.
    """
    if not isinstance(upstream.catalogue.models, StoredModels):
        return False
    known = upstream.provider()
    if known.catalogue_due_at is not None and known.catalogue_due_at > database_now():
        return False
    row = Provider.objects.filter(name=upstream.name)
    due = row.filter(Q(catalogue_due_at=None) | Q(catalogue_due_at__lte=in_database()))
    # Only one worker asks, however long that takes.
    if not due.update(catalogue_due_at=in_database(upstream.lease)):
        return False
    found = _read(upstream)
    if not found:
        row.update(catalogue_due_at=in_database(_AGAIN_SECONDS))
        return False
    before = set(row.values_list("catalogue", flat=True).first() or {})
    row.update(catalogue=as_stored(found), catalogue_due_at=in_database(_EVERY_SECONDS))
    if before and before != found.keys():
        gone, new = sorted(before - found.keys()), sorted(found.keys() - before)
        logger.warning("The models of %s have changed: gone %s, new %s.", upstream.name, gone, new)
    return True


def _read(upstream: Upstream) -> dict[str, Model]:
    """What it lists by now; empty if that cannot be used, which is logged."""
    try:
        found = models_of(upstream.client.models())
    except errors.SoraError as error:
        logger.warning("The models of %s cannot be read: %s", upstream.name, error)
        return {}
    if not found:
        logger.error("%s lists no model that can be asked for; its models stay as they were.", upstream.name)
    return found
