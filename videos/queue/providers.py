"""Stopping and resuming a provider, for operators."""

from collections.abc import Iterator

from django.db import transaction

from upstreams.breaker import is_tripped
from upstreams.changes import Block, log_blocked, log_unblocked
from upstreams.clock import in_database
from upstreams.models import Call, Provider
from videos.models import Submission
from videos.queue.wake import wake
from videos.reconciliation.decisions import Refused
from videos.states import SubmissionState


def stop(name: str, reason: str) -> None:
    """Sends nothing more to a provider until it is resumed. What was sent is followed to its end.

    Jobs are still accepted. A claim that is being committed now is the last. Raises Refused.
    """
    found = Provider.objects.filter(name=name).update(stopped_at=in_database(), stop_reason=reason)
    if not found:
        raise Refused(_no_provider(name))
    log_blocked(name, Block.STOPPED, reason)


def _no_provider(name: str) -> str:
    known = ", ".join(Provider.objects.order_by("name").values_list("name", flat=True)) or "none yet"
    return f"There is no provider {name!r}; there are: {known}."


def resume(name: str, *, trust_list: bool = False, accept_losses: bool = False) -> list[str]:
    """Ends what blocks a provider, and returns what that was. `trust_list` also ends the distrust of its
    list.

    `accept_losses`: an upstream that does not know our ids is the right one, and the videos that it does not
    know are lost. Raises Refused.
    """
    with transaction.atomic(durable=True):
        provider = Provider.objects.select_for_update().filter(name=name).first()
        if provider is None:
            raise Refused(_no_provider(name))
        ended = send_blocks(provider)
        changes: dict[str, object] = {
            "stopped_at": None,
            "stop_reason": "",
            "paused_at": None,
            "pause_reason": "",
            "probe_due_at": in_database() if provider.unrecognized_at else None,
            "reused_ids": 0,
            "sending_backoff_until": None,
            "sending_backoff_reason": "",
            **{call.backoff_field: None for call in Call},
            "failures": 0,
        }
        if trust_list:
            changes["proves_absence"] = True
        else:
            ended = [each for each in ended if each != _DISTRUST]
        if accept_losses:
            changes |= {"unrecognized_at": None, "unrecognized_reason": "", "known_until": None}
            changes["losses_accepted_at"] = in_database()
            # What it does not know is lost now: until then, it keeps a place that others wait for.
            at_it = Submission.objects.filter(provider=provider, upstream_id__isnull=False)
            at_it.filter(state__in=_FOLLOWED).update(due_at=in_database())
        else:
            # It ends by itself once the upstream knows us again.
            ended = [each for each in ended if not each.startswith(_UNRECOGNIZED)]
        Provider.objects.filter(pk=provider.pk).update(**changes)
        for block in _blocks(provider):
            if block != Block.UNRECOGNIZED or accept_losses:
                log_unblocked(name, block, "an operator resumed it")
        wake("dispatch")
    return ended


_FOLLOWED = (SubmissionState.RENDERING, SubmissionState.RENDERED)
_UNRECOGNIZED = "not the upstream that we know"
_DISTRUST = "its list is not trusted to prove absence"


def _blocks(provider: Provider) -> Iterator[Block]:
    if provider.stopped_at is not None:
        yield Block.STOPPED
    if provider.unrecognized_at is not None:
        yield Block.UNRECOGNIZED
    if provider.paused_at is not None:
        yield Block.PAUSED
    if is_tripped(provider):
        yield Block.TRIPPED


def is_unrecognized(name: str) -> bool:
    """Whether an upstream of this name does not know our ids."""
    return Provider.objects.filter(name=name, unrecognized_at__isnull=False).exists()


def send_blocks(provider: Provider) -> list[str]:
    """What blocks a provider, in words."""
    found = []
    if provider.stopped_at is not None:
        found.append(f"stopped since {provider.stopped_at:%Y-%m-%d %H:%M:%S}: {provider.stop_reason}")
    if provider.unrecognized_at is not None:
        found.append(
            f"{_UNRECOGNIZED} since {provider.unrecognized_at:%Y-%m-%d %H:%M:%S}: "
            f"{provider.unrecognized_reason}"
        )
    if provider.paused_at is not None:
        found.append(f"paused since {provider.paused_at:%Y-%m-%d %H:%M:%S}: {provider.pause_reason}")
    if provider.sending_backoff_until is not None and provider.is_backing_off():
        found.append(
            f"backing off until {provider.sending_backoff_until:%Y-%m-%d %H:%M:%S}: "
            f"{provider.sending_backoff_reason}"
        )
    for call in Call:
        if provider.backoff_seconds(call):
            until = provider.backoff_until(call)
            found.append(f"no {call} call until {until:%Y-%m-%d %H:%M:%S}, as it asked")
    if is_tripped(provider):
        found.append(f"one create at a time after {provider.failures} failures in a row")
    if not provider.proves_absence:
        found.append(_DISTRUST)
    return found
