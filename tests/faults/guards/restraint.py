"""How often creates are sent."""

from typing import Final

from tests.faults.guards.guard import Guard

_RESTRAINT = "upstreams/breaker.py"
_SUBMIT = "videos/lifecycle/submit.py"
_TESTS = "tests/videos/test_restraint.py"

GUARDS: Final = (
    Guard(
        "creates take turns",
        _RESTRAINT,
        "    return provider.next_token_at - timedelta(seconds=_AHEAD_SECONDS) <= now\n",
        "    return True\n",
        _TESTS,
    ),
    Guard(
        "a claim takes a turn",
        _SUBMIT,
        "        take_turn(provider, now)\n",
        "",
        _TESTS,
    ),
    Guard(
        "a claim that finds no job takes no turn",
        _SUBMIT,
        "        job = next_job(provider)\n",
        "        take_turn(provider, now)\n        job = next_job(provider)\n",
        f"{_TESTS} -k finds_no_job",
    ),
    Guard(
        "a minute with what was used ahead holds no more than the limit",
        _RESTRAINT,
        "(60 + _AHEAD_SECONDS)",
        "60",
        _TESTS,
    ),
    Guard(
        "turns are used although workers look once a second",
        _RESTRAINT,
        "provider.next_token_at - timedelta(seconds=_AHEAD_SECONDS) <= now",
        "provider.next_token_at <= now",
        _TESTS,
    ),
    Guard(
        "turns that were not used are not saved up",
        _RESTRAINT,
        "max(provider.next_token_at or now, now)",
        "(provider.next_token_at or now)",
        _TESTS,
    ),
    Guard(
        "creates of unknown outcome are counted",
        _SUBMIT,
        "        record_failure(submission.provider, str(error), error.retry_after)\n",
        "",
        _TESTS,
    ),
    Guard(
        "creates that fail in a row open the breaker",
        _RESTRAINT,
        "    hold(provider, wait, reason)\n",
        "",
        _TESTS,
    ),
    Guard(
        "a hold is never made shorter",
        _RESTRAINT,
        "Provider.objects.filter(shorter, pk=provider.pk)",
        "Provider.objects.filter(pk=provider.pk)",
        _TESTS,
    ),
    Guard(
        "a create of unknown outcome is heeded where it says how long to wait",
        _RESTRAINT,
        "    if retry_after is not None:\n        hold(",
        "    if False:\n        hold(",
        _TESTS,
    ),
    Guard(
        "an upstream that wants to be left alone is heeded",
        _RESTRAINT,
        "        if error.retry_after:\n",
        "        if False:\n",
        _TESTS,
    ),
    Guard(
        "an upstream is left alone as long as it ever asked",
        _RESTRAINT,
        "Provider.objects.filter(shorter, name=upstream.name)",
        "Provider.objects.filter(name=upstream.name)",
        _TESTS,
    ),
    Guard(
        "no work is given out for an upstream that wants to be left alone",
        "videos/queue/dispatch.py",
        "    if provider.backoff_seconds():\n        return work\n",
        "",
        _TESTS,
    ),
    Guard(
        "work that was given out leaves an upstream alone that wants it by then",
        "videos/queue/dispatch.py",
        "    if upstream.provider().backoff_seconds():\n        return\n",
        "",
        _TESTS,
    ),
    Guard(
        "a sweep leaves an upstream alone that wants it",
        "videos/lifecycle/sync.py",
        "    if provider.backoff_seconds():\n        return\n",
        "",
        _TESTS,
    ),
    Guard(
        "a sweep stops once the upstream wants to be left alone",
        "videos/lifecycle/sync.py",
        "        if upstream.provider().backoff_seconds():\n            break\n",
        "",
        _TESTS,
    ),
    Guard(
        "a few failed creates do not open the breaker",
        _RESTRAINT,
        "    if beyond < 0:\n        return\n",
        "",
        _TESTS,
    ),
    Guard(
        "under an open breaker one create at a time is tried",
        _RESTRAINT,
        "        is_open(provider)\n        and Submission",
        "        False\n        and Submission",
        _TESTS,
    ),
    Guard(
        "one at a time is for an open breaker only",
        _RESTRAINT,
        "        is_open(provider)\n        and Submission",
        "        Submission",
        _TESTS,
    ),
    Guard(
        "an open breaker waits longer each time",
        _RESTRAINT,
        "5 * 2 ** min(beyond, 10)",
        "5",
        _TESTS,
    ),
    Guard(
        "an open breaker waits at most five minutes",
        _RESTRAINT,
        "min(5 * 2 ** min(beyond, 10), _LONGEST_BREAK_SECONDS)",
        "5 * 2 ** min(beyond, 10)",
        _TESTS,
    ),
    Guard(
        "an accepted create closes the breaker",
        _SUBMIT,
        "    record_success(submission.provider_id)\n",
        "",
        _TESTS,
    ),
    Guard(
        "an open breaker stops neither reconciling nor sweeping",
        "videos/queue/dispatch.py",
        "    due = mine.filter(due_at__lte=in_database())",
        "    if provider.is_backing_off():\n        return work\n    due = mine.filter(due_at__lte=in_database())",
        _TESTS,
    ),
)
