"""How often a caller may ask."""

from typing import Final

from tests.faults.guards.guard import Guard

_LIMITS = "accounts/limits/throttles.py"
_TESTS = "tests/api/test_limits.py"

GUARDS: Final = (
    Guard(
        "each key has its own minute",
        _LIMITS,
        'return f"key {auth.pk}"',
        'return "key"',
        _TESTS,
    ),
    Guard(
        "each person has a minute of their own",
        _LIMITS,
        'return f"user {user.pk}" if',
        'return "user" if',
        _TESTS,
    ),
    Guard(
        "who is not known is counted by address",
        _LIMITS,
        'return f"address {address_of(request)}"',
        'return "address"',
        _TESTS,
    ),
    Guard(
        "creates have a limit of their own",
        _LIMITS,
        'return "reads" if request.method in SAFE_METHODS else "creates"',
        'return "reads"',
        _TESTS,
    ),
    Guard(
        "log-ins have a limit of their own",
        _LIMITS,
        'getattr(view, "rate_limit", _usual(called))',
        "_usual(called)",
        _TESTS,
    ),
    Guard(
        "a limit refuses",
        _LIMITS,
        "return self._usage is None or not self._usage.exceeded",
        "return True",
        _TESTS,
    ),
    Guard(
        "bad keys of an address are refused faster",
        "accounts/limits/middleware.py",
        "if usage is not None and usage.exceeded:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "a session that has ended is not taken for a bad key",
        _LIMITS,
        '"reads" if is_read else "refusals"',
        '"refusals"',
        _TESTS,
    ),
    Guard(
        "bad keys are counted apart from attempts without one",
        _LIMITS,
        " and not carries_key(request)\n",
        "\n",
        _TESTS,
    ),
    Guard(
        "calls without a session that would change something are refusals",
        _LIMITS,
        "status == 401 and request.method in SAFE_METHODS",
        "status == 401",
        _TESTS,
    ),
    Guard(
        "keys in addresses are refusals",
        _LIMITS,
        "is_read = status == 401 and ",
        "is_read = ",
        _TESTS,
    ),
    Guard(
        "refused calls are counted, whatever refused them",
        "accounts/limits/middleware.py",
        "frozenset({400, 401, 403})",
        "frozenset({401})",
        _TESTS,
    ),
    Guard(
        "what a known caller may not do counts as its call",
        _LIMITS,
        '    if hasattr(request, "auth") and (caller := _known(request.auth, request.user)):\n'
        "        return count(request, _usual(request), caller)\n",
        "",
        _TESTS,
    ),
    Guard(
        "a call is counted once",
        "accounts/limits/middleware.py",
        ' and not hasattr(request, "rate_limit")',
        "",
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
