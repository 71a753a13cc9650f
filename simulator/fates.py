"""From armed faults to a job's fate."""

from collections.abc import Sequence
from dataclasses import replace

from simulator.faults import Armed
from simulator.jobs import Fate, Job
from simulator.state.store import Store


def fate_of(faults: Sequence[Armed], start: Fate | None = None) -> Fate:
    """The fate that the faults add up to; later ones win."""
    fate = start or Fate()
    for armed in faults:
        params = armed.params
        match armed.fault:
            case "stuck":
                fate = replace(fate, never_ends=True, progress=params["progress"], runs_as="in_progress")
            case "failed":
                fate = replace(fate, ends_as="failed", error=params["error"])
            case "unknown_status":
                fate = replace(fate, runs_as=params["status"], never_ends=not params["ends"])
            case "expired":
                fate = replace(fate, ends_as="expired")
            case "cancelled":
                fate = replace(fate, ends_as=params["status"])
            case "lagging_list":
                fate = replace(fate, listed_after=float(params["seconds"]))
            case "vanished":
                fate = replace(fate, vanished=True, unlisted=not params["listed"])
    return fate


def settles_at(fate: Fate, *, ends_at: float, has_file: bool) -> float | None:
    """When a job ends, in unix seconds; None while that is open."""
    if fate.never_ends or (fate.needs_file and not has_file):
        return None
    return ends_at


def decide(store: Store, job: Job, armed: Armed, now: float) -> None:
    """Gives an existing job another fate; an end that the fault names comes at once."""
    fate = fate_of([armed], job.fate)
    if armed.fault in ("failed", "expired", "cancelled"):
        store.decide(job, fate, now)
    elif fate.never_ends:
        store.decide(job, fate, None)
    else:
        store.decide(job, fate, job.settles_at)
