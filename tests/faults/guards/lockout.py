"""Who guesses passwords waits."""

from typing import Final

from tests.faults.guards.guard import Guard

_LOCKOUT = "accounts/sessions/lockout.py"
_VIEWS = "accounts/sessions/views.py"
_ADDRESSES = "accounts/addresses.py"
_TESTS = "tests/accounts/test_lockout.py"

GUARDS: Final = (
    Guard(
        "log-ins that failed lock out",
        _VIEWS,
        "        attempt = lockout.admit(username, address_of(request._request), now=timezone.now())\n",
        "        attempt = lockout.Attempt('', {})\n",
        _TESTS,
    ),
    Guard(
        "a log-in that succeeds counts for nothing",
        _VIEWS,
        "        lockout.succeed(attempt, now=timezone.now())\n",
        "",
        f"{_TESTS} tests/accounts/test_sessions.py",
    ),
    Guard(
        "the admin's log-in counts as the API's does",
        "accounts/admin.py",
        "admin.site.login_form = CountedLoginForm\n",
        "",
        _TESTS,
    ),
    Guard(
        "a lock refuses",
        _LOCKOUT,
        "            raise LockedOut(max(locks) - now)\n",
        "            pass\n",
        _TESTS,
    ),
    Guard(
        "a try is counted before the password is looked at",
        _LOCKOUT,
        "{subject: _count(row, rules[subject], now) for subject, row in rows.items()}",
        "dict.fromkeys(rows)",
        _TESTS,
    ),
    Guard(
        "a refused try leaves nothing",
        _LOCKOUT,
        "    with transaction.atomic():\n        # Made",
        "    if True:\n        # Made",
        _TESTS,
    ),
    Guard(
        "tries do not block each other",
        _LOCKOUT,
        "for subject in sorted(rules)",
        "for subject in rules",
        f"{_TESTS} -k block_each_other",
    ),
    Guard("five failures at an address are the most", _LOCKOUT, "Rule(5, ", "Rule(6, ", _TESTS),
    Guard(
        "an address is locked", _LOCKOUT, "ADDRESS: Final = Rule(50, ", "ADDRESS: Final = Rule(500, ", _TESTS
    ),
    Guard(
        "a username is locked",
        _LOCKOUT,
        "USERNAME: Final = Rule(50, ",
        "USERNAME: Final = Rule(500, ",
        _TESTS,
    ),
    Guard(
        "nobody is locked out by others where it has logged in before",
        _LOCKOUT,
        "            del rows[of_name]\n",
        "            pass\n",
        _TESTS,
    ),
    Guard(
        "a failure does not make a known address unknown",
        _LOCKOUT,
        "row.succeeded_at + _ADDRESS_KNOWN_FOR if row.succeeded_at else now",
        "now",
        _TESTS,
    ),
    Guard(
        "a known address is forgotten in time",
        _LOCKOUT,
        "timedelta(days=30)",
        "timedelta(days=300)",
        _TESTS,
    ),
    Guard(
        "a log-in from a known address lifts no lock elsewhere",
        _LOCKOUT,
        "forget_at=now + rules[subject].window",
        "forget_at=now",
        _TESTS,
    ),
    Guard(
        "a success lifts no lock that another try has set",
        _LOCKOUT,
        "                row.filter(locked_until=lock).update",
        "                row.update",
        _TESTS,
        (("            if lock is not None:\n", "            if True:\n"),),
    ),
    Guard(
        "a success lifts the lock that its own try has set",
        _LOCKOUT,
        "                row.filter(locked_until=lock).update(locked_until=None)\n",
        "                pass\n",
        _TESTS,
    ),
    Guard(
        "a success takes its count back",
        _LOCKOUT,
        '            row.filter(failures__gt=0).update(failures=F("failures") - 1)\n',
        "",
        _TESTS,
    ),
    Guard(
        "a success forgets the failures before it",
        _LOCKOUT,
        "row.update(failures=0, locked_until=None, **known)",
        "row.update(**known)",
        _TESTS,
    ),
    Guard("a lock grows", _LOCKOUT, "_FIRST_LOCK * 2**doubled", "_FIRST_LOCK", _TESTS),
    Guard(
        "a lock does not grow for ever",
        _LOCKOUT,
        "min(_FIRST_LOCK * 2**doubled, rule.longest)",
        "_FIRST_LOCK * 2**doubled",
        _TESTS,
    ),
    Guard(
        "failures are forgotten",
        _LOCKOUT,
        "    if row.counted_from + rule.window <= now:\n",
        "    if False:\n",
        _TESTS,
        (("    _forget(now)\n", ""),),
    ),
    Guard("stale counts are deleted", _LOCKOUT, "    _forget(now)\n", "", _TESTS),
    Guard(
        "only stale counts are deleted",
        _LOCKOUT,
        "LoginAttempts.objects.filter(forget_at__lte=now).order_by",
        "LoginAttempts.objects.order_by",
        _TESTS,
    ),
    Guard("few stale counts are deleted at once", _LOCKOUT, "found[:_FORGOTTEN_AT_ONCE]", "found", _TESTS),
    Guard(
        "what is typed as a username is not kept",
        _LOCKOUT,
        'hashlib.sha256(f"{len(username)} {username} {address}".encode()).hexdigest()',
        'f"{len(username)} {username} {address}"[:64]',
        _TESTS,
    ),
    Guard(
        "a username is counted in any case",
        _LOCKOUT,
        "    name = User.objects.lowered(username)\n",
        "    name = username\n",
        _TESTS,
    ),
    Guard(
        "a username is counted as the look-up takes it",
        _LOCKOUT,
        "    name = User.objects.lowered(username)\n",
        "    name = username.lower()\n",
        f"{_TESTS} -k look_up",
    ),
    Guard(
        "a forged X-Forwarded-For is not believed",
        _ADDRESSES,
        "    if 0 < settings.TRUSTED_PROXIES <= len(hops):\n"
        "        given = _without_port(hops[-settings.TRUSTED_PROXIES]",
        "    if True:\n        given = _without_port(hops[0]",
        _TESTS,
    ),
    Guard(
        "what a proxy passes on is believed",
        _ADDRESSES,
        "    if 0 < settings.TRUSTED_PROXIES <= len(hops):\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "a caller is the same on each port",
        _ADDRESSES,
        "    return found[1] if found else given\n",
        "    return given\n",
        _TESTS,
    ),
    Guard(
        "an IPv6 caller is its network",
        _ADDRESSES,
        "str(ip_network((address, 64), strict=False))",
        "str(address)",
        _TESTS,
    ),
)
