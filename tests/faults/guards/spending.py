"""What an owner may spend, how many jobs it may have, and whether anything is sent at all."""

from typing import Final

from tests.faults.guards.guard import Guard

_BUDGETS = "accounts/budgets/reservations.py"
_ROWS = "videos/models.py"
_TESTS = "tests/accounts/test_budgets.py"
_USAGE_TESTS = "tests/api/test_usage.py"

GUARDS: Final = (
    Guard(
        "what was paid is counted for the key whose budget it was",
        "videos/api/usage.py",
        "first, last, by, paid_for)",
        'first, last, by, F("job__api_key_id"))',
        _USAGE_TESTS,
    ),
    Guard(
        "what is set aside is counted for the key whose budget it is",
        "videos/api/usage.py",
        'F("reservation__api_key_id"))\n    for',
        'F("api_key_id"))\n    for',
        _USAGE_TESTS,
    ),
    Guard(
        "nothing is reserved beyond a budget",
        _BUDGETS,
        "if total > left:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "what is reserved counts against a budget",
        _BUDGETS,
        "(counter.reserved + counter.settled) / _UNITS",
        "counter.settled / _UNITS",
        _TESTS,
    ),
    Guard(
        "what is spent counts against a budget",
        _BUDGETS,
        "(counter.reserved + counter.settled) / _UNITS",
        "counter.reserved / _UNITS",
        f"{_TESTS} tests/accounts/test_budget_commands.py",
    ),
    Guard(
        "counters are locked before they are judged",
        _BUDGETS,
        "Spending.objects.select_for_update().filter(",
        "Spending.objects.filter(",
        _TESTS,
    ),
    Guard(
        "an unknown price is refused under a budget",
        _BUDGETS,
        "if not priced and limits:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "a reservation ends once",
        _BUDGETS,
        "    if not held.update(state=state, settled=spent):\n        return False\n",
        "    held.update(state=state, settled=spent)\n",
        _TESTS,
    ),
    Guard(
        "a reservation ends in the period in which it was made",
        _BUDGETS,
        "in _counters(reservation.owner_id, reservation.api_key_id, reservation.made_on):",
        "in _counters(reservation.owner_id, reservation.api_key_id, timezone.now().date()):",
        _TESTS,
    ),
    Guard(
        "a key's budget is for that key alone",
        _BUDGETS,
        "if budget.api_key_id in keys]",
        "]",
        _TESTS,
    ),
    Guard(
        "a create is counted before it is accepted",
        "videos/lifecycle/create.py",
        "        reservation = reserve(owner, api_key, price_of(fitted))\n",
        "        reservation = None\n",
        _TESTS,
    ),
    Guard(
        "a retry that may be paid again is counted",
        "videos/lifecycle/retry.py",
        "    job.hold(reserve(job.owner, api_key, price))\n",
        "",
        _TESTS,
    ),
    Guard(
        "a retry of what is undecided is not counted twice",
        "videos/lifecycle/retry.py",
        "if not job.submissions.filter(state__in=UNDECIDED).exists():",
        "if True:",
        _TESTS,
    ),
    Guard(
        "a job that ends before it is sent gives its price back",
        _ROWS,
        "        if won and to in {JobStatus.FAILED, JobStatus.CANCELLED}:\n            self.release_reservation()\n",
        "",
        _TESTS,
    ),
    Guard(
        "a submission takes its job's reservation over",
        "videos/lifecycle/submit.py",
        "        Job.objects.filter(pk=job.pk).update(reservation=None)\n",
        "",
        _TESTS,
    ),
    Guard(
        "what was not sent for an ended job gives its price back",
        _ROWS,
        "                if job.status != JobStatus.PENDING:\n                    job.release_reservation()\n",
        "",
        _TESTS,
    ),
    Guard(
        "what was accepted after all is charged",
        _ROWS,
        "                self._hold(budgets.charge(job.owner, job.api_key, self.price))",
        "                pass",
        _TESTS,
    ),
    Guard(
        "what was accepted after all takes its reservation back",
        _ROWS,
        "                self._hold(job.reservation)\n                job.hold(None)",
        "                pass",
        _TESTS,
    ),
    Guard(
        "an owner has so many waiting jobs at most",
        "videos/lifecycle/create.py",
        "        leave_room(owner)\n",
        "",
        _USAGE_TESTS,
    ),
    Guard(
        "a retry finds room as a create does",
        "videos/lifecycle/retry.py",
        "            leave_room(job.owner, besides=job)\n",
        "",
        _USAGE_TESTS,
    ),
    Guard(
        "a job is sent at the price that was set aside",
        "videos/lifecycle/submit.py",
        "price=job.estimated_cost,",
        "price=None,",
        _TESTS,
    ),
    Guard(
        "a retry costs what is listed then",
        "videos/lifecycle/retry.py",
        "    price = price_today(job)\n    Job",
        "    price = job.estimated_cost\n    Job",
        _TESTS,
    ),
    Guard(
        "a retry goes on with any attempt that was given up with an id",
        "videos/lifecycle/retry.py",
        '    last: Submission | None = given_up.order_by("-number").first()\n',
        '    last = job.submissions.order_by("-number").first()\n'
        "    last = last if last in given_up else None\n",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "what is given back at once was held still",
        _BUDGETS,
        "select_for_update().filter(pk__in=pks, state=Reservation.State.HELD)",
        "select_for_update().filter(pk__in=pks)",
        _TESTS,
    ),
    Guard(
        "what is given back at once is free again",
        _BUDGETS,
        '            Spending.objects.filter(pk=counter.pk).update(reserved=F("reserved") - freed)',
        "            pass",
        f"{_TESTS} tests/batches/test_ends.py",
    ),
    Guard(
        "an owner has so many jobs upstream at most",
        "videos/queue/selection.py",
        "        if most and busy",
        "        if False and busy",
        _USAGE_TESTS,
    ),
    Guard(
        "an operator's stop stops submissions",
        _ROWS,
        "return self.stopped_at is None and ",
        "return ",
        _USAGE_TESTS,
    ),
)
