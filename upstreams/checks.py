"""Rules between settings, checked at start-up."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from upstreams.client.dialects import DIALECTS
from upstreams.client.files.redirects import ContentHosts
from upstreams.configuration import toml_file
from upstreams.offer import pricing
from upstreams.offer.catalogue import NoSuchModel, catalogue_of


@register("settings")
def upstream_is_configured(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Checks that each upstream has a name, a known dialect and usable prices."""
    found: list[CheckMessage] = []
    if settings.UPSTREAMS_FILE:
        found += _of_file()
    else:
        found += _of_environment()
    if settings.SORA_SYNC_SECONDS_MIN > settings.SORA_SYNC_SECONDS_MAX:
        found.append(Error("SORA_SYNC_SECONDS_MIN exceeds SORA_SYNC_SECONDS_MAX.", id="videos.E006"))
    undecided = 2 * settings.SORA_TIMEOUT + 2 + settings.SORA_RECONCILE_SECONDS[-1]
    if undecided >= settings.JOB_GIVE_UP_AFTER:
        found.append(
            Error(
                f"JOB_GIVE_UP_AFTER is {settings.JOB_GIVE_UP_AFTER:g} s.",
                hint=f"It must exceed {undecided:g} s: the lease of a create and the search for a lost one.",
                id="videos.E007",
            )
        )
    return found


def _of_file() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.SORA_BASE_URL_CHOSEN:
        found.append(
            Error(
                "UPSTREAMS_FILE and SORA_BASE_URL are both set.",
                hint="Describe that upstream in the file as well, and unset SORA_BASE_URL.",
                id="videos.E009",
            )
        )
    try:
        toml_file.read(settings.UPSTREAMS_FILE)
    except toml_file.Mistakes as mistakes:
        found += [Error(line, id="videos.E010") for line in mistakes.lines]
    return found


def _of_environment() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.SORA_PROVIDER:
        found.append(
            Error(
                "SORA_BASE_URL is set and SORA_PROVIDER is not.",
                hint="Name the upstream in SORA_PROVIDER. The name is its identity: keep it when its address "
                "changes, choose another for another upstream.",
                id="videos.E001",
            )
        )
    elif settings.SORA_BASE_URL_CHOSEN and settings.SORA_PROVIDER == "simulator":
        found.append(
            Error(
                "SORA_PROVIDER is simulator, and SORA_BASE_URL names another upstream.",
                hint="Give that upstream a name of its own.",
                id="videos.E002",
            )
        )
    dialect = DIALECTS.get(settings.SORA_DIALECT)
    if dialect is None:
        found.append(
            Error(
                f"SORA_DIALECT is {settings.SORA_DIALECT!r}.",
                hint=f"Known dialects: {', '.join(DIALECTS)}.",
                id="videos.E003",
            )
        )
    else:
        try:
            catalogue_of(dialect, settings.SORA_MODEL)
        except NoSuchModel as error:
            found.append(Error(f"SORA_MODEL: {error}.", id="videos.E004"))
    if settings.SORA_PRICES:
        try:
            pricing.parse(settings.SORA_PRICES)
        except ValueError as error:
            found.append(Error(f"SORA_PRICES: {error}.", id="videos.E005"))
    try:
        ContentHosts(settings.SORA_CONTENT_HOSTS)
    except ValueError as error:
        found.append(Error(f"SORA_CONTENT_HOSTS: {error}.", id="videos.E008"))
    return found
