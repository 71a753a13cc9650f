"""Celery tasks of the upstream."""

from typing import Any

from celery import shared_task

from upstreams.calls import contact as contacts
from upstreams.registry import configured


@shared_task(name="upstreams.calls.contact")
def contact(**_: Any) -> None:
    """Asks whether the upstream answers, if it has not answered for a while."""
    upstream = configured()
    contacts.ask_if_silent(upstream.name, upstream.client)
