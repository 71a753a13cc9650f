"""How often a caller may ask."""

from typing import Final

from tests.faults.guards.guard import Guard

_LIMITS = "accounts/limits.py"
_TESTS = "tests/api/test_limits.py"

GUARDS: Final = (
    Guard(
        "each key has its own minute",
        _LIMITS,
        'return f"key {request.auth.pk}"',
        'return "key"',
        _TESTS,
    ),
    Guard(
        "each person has a minute of their own",
        _LIMITS,
        'return f"user {request.user.pk}"',
        'return "user"',
        _TESTS,
    ),
    Guard(
        "who is not known is counted by address",
        _LIMITS,
        'return count(request, "refusals", f"address {address_of(request)}")',
        'return count(request, "refusals", "address")',
        _TESTS,
    ),
    Guard(
        "creates have a limit of their own",
        _LIMITS,
        'usual = "reads" if request.method in SAFE_METHODS else "creates"',
        'usual = "reads"',
        _TESTS,
    ),
    Guard(
        "log-ins have a limit of their own",
        _LIMITS,
        'getattr(view, "rate_limit", usual)',
        "usual",
        _TESTS,
    ),
    Guard(
        "a limit refuses",
        _LIMITS,
        "return not self._usage.exceeded",
        "return True",
        _TESTS,
    ),
    Guard(
        "bad keys of an address are refused faster",
        "config/rate_limits.py",
        "if usage is not None and usage.exceeded:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "a session that has ended is not taken for a bad key",
        "config/rate_limits.py",
        "if response.status_code == 401 and carries_key(request):",
        "if response.status_code == 401:",
        _TESTS,
    ),
    Guard(
        "a Redis that does not answer takes no limit away",
        "config/cache.py",
        "        return call(self._memory)",
        "        return None",
        "tests/test_cache.py",
    ),
    Guard(
        "a Redis that does not answer is left alone for a while",
        "config/cache.py",
        "                _away_until[self._location] = time.monotonic() + _AWAY_SECONDS\n",
        "",
        "tests/test_cache.py",
    ),
)
