"""Which upstreams a command is about."""

from collections.abc import Iterable

from django.core.management.base import CommandError

from upstreams import registry
from upstreams.registry import Upstream


def named_or_only(name: str) -> Upstream:
    """The upstream of this name, or without a name the only one. Raises CommandError."""
    found = registry.configured()
    if not name and len(found) == 1:
        return found.all[0]
    upstream = found.get(name) if name else None
    if upstream is None:
        names = ", ".join(each.name for each in found)
        raise CommandError(
            f"There is no upstream {name!r}: {names}." if name else f"Name an upstream: {names}."
        )
    return upstream


def named_or_all(name: str) -> Iterable[Upstream]:
    """The upstream of this name, or without a name all. Raises CommandError."""
    return (named_or_only(name),) if name else registry.configured()
