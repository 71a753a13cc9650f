"""Celery tasks of the upstream."""

from typing import Any

from celery import shared_task

from upstreams import registry
from upstreams.calls import contact as contacts
from upstreams.calls.catalogues import refresh_if_due


@shared_task(name="upstreams.calls.contact")
def contact(**_: Any) -> None:
    """Asks each upstream whether it answers, after a silence, and for its models, if that is due."""
    for upstream in registry.configured():
        if contacts.is_silent(upstream.provider()):
            contacts.ask_if_silent(upstream.name, upstream.client)
        refresh_if_due(upstream)
