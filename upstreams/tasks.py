"""Celery tasks of the upstream."""

from typing import Any

from celery import shared_task

from upstreams import registry
from upstreams.calls import contact as contacts


@shared_task(name="upstreams.calls.contact")
def contact(**_: Any) -> None:
    """Asks each upstream whether it answers, if it has not answered for a while."""
    for upstream in registry.configured():
        contacts.ask_if_silent(upstream.name, upstream.client)
