"""Budgets: what is set aside, settled and given back, each once and for the right key."""

from typing import Final

from tests.faults.guards.guard import Guard

GUARDS: Final = (
    Guard(
        "a cost belongs to its state (check constraint)",
        "videos.migrations.0001_first_release:",
        'models.Q(("cost_state__in", ["reserved"]), ("state", "sending"))',
        '("id__isnull", False)',
        "tests/videos/test_states.py",
    ),
    Guard(
        "a settled cost stays settled",
        "videos.models.submission:Submission.move",
        "self.cost_state == CostState.SETTLED",
        "False",
        "tests/videos/test_states.py",
    ),
    Guard(
        "what was paid is counted for the key whose budget it was",
        "videos.usage.report:_parts",
        '_groups("job__", paid_for)',
        '_groups("job__", F("job__api_key_id"))',
        "tests/api/test_usage.py",
    ),
    Guard(
        "what is set aside is counted for the key whose budget it is",
        "videos.usage.report:_parts",
        '_groups("", F("reservation__api_key_id"))',
        '_groups("", F("api_key_id"))',
        "tests/api/test_usage.py",
    ),
    Guard(
        "a job that opens again is taken out of what is counted",
        "videos.models.job:Job.move",
        "before in allowed - JOB_OPEN",
        "False",
        "tests/videos/test_usage_counts.py",
    ),
    Guard(
        "jobs of a group that open again are taken out of what is counted",
        "videos.models.job:Job.move_together",
        "take_back(Job.objects.filter(pk__in=pks))",
        "None",
        "tests/videos/test_usage_counts.py",
    ),
    Guard(
        "what is paid late is counted",
        "videos.models.submission:Submission.move",
        "before in allowed - LIVE",
        "False",
        "tests/videos/test_usage_counts.py",
    ),
    Guard(
        "what is taken back is subtracted",
        "videos.usage.sums:take_back",
        "group.row(-jobs, -settled)",
        "group.row(jobs, settled)",
        "tests/videos/test_usage_counts.py",
    ),
    Guard(
        "nothing is counted that may still cost something",
        "videos.usage.count:count_some",
        "~Exists(costs_more)",
        "Exists(Job.objects.all())",
        "tests/videos/test_usage_counts.py",
    ),
    Guard(
        "nothing is reserved beyond a budget",
        "accounts.budgets.reservations:count",
        "total > left",
        "False",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what is reserved counts against a budget",
        "accounts.budgets.reservations:count",
        "counter.reserved + counter.settled",
        "counter.settled",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what is spent counts against a budget",
        "accounts.budgets.reservations:count",
        "counter.reserved + counter.settled",
        "counter.reserved",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what was not counted yet counts against a budget",
        "accounts.budgets.counting:counters_of",
        'list(uncounted().filter(owner=owner).select_for_update().order_by("pk"))',
        "[]",
        "tests/accounts/test_counting.py",
    ),
    Guard(
        "a reservation that has ended is taken off the counters once",
        "accounts.budgets.reservations:_end",
        "counting=told",
        "counting=F('counting')",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a budget that is set while a job is created counts that job",
        "accounts.budgets.reservations:limits_of",
        "Budget.hold_back(owner)",
        "",
        "tests/accounts/test_counting.py",
    ),
    Guard(
        "counters are locked before they are judged",
        "accounts.budgets.counting:_locked",
        "Spending.objects.select_for_update()",
        "Spending.objects",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "an unknown price is refused under a budget",
        "accounts.budgets.reservations:count",
        "not priced",
        "False",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "renders that complete together are settled",
        "videos.lifecycle.following.completed:_complete",
        "reservations.settle_all([(row.reservation_id, row.price) for row in rows if row.reservation_id])",
        "",
        "tests/videos/test_sweep_many.py",
    ),
    Guard(
        "counters are locked all at once",
        "accounts.budgets.counting:_count",
        "_locked(lacking.keys() | set(others))",
        "{day: _locked({day})[day] for day in lacking.keys() | set(others)}",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a reservation ends once",
        "accounts.budgets.reservations:_end",
        "Reservation.objects.filter(pk__in=pks, state=Reservation.State.RESERVED)",
        "Reservation.objects.filter(pk__in=pks)",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a reservation ends in the period in which it was made",
        "accounts.budgets.counting:_count",
        "row.made_on",
        "timezone.now().date()",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a key's budget is for that key alone",
        "accounts.budgets.reservations:_binding",
        "[budget for budget in own if budget.api_key_id in keys]",
        "list(own)",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a create is counted before it is accepted",
        "videos.lifecycle.create:create",
        "draft(owner, api_key, fitted.price)",
        "None",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a retry that may be paid again is counted",
        "videos.lifecycle.retry:_reserve_again",
        "job.attach_reservation(reserve(job.owner, api_key, price))",
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a retry of what is undecided is not counted twice",
        "videos.lifecycle.retry:retry",
        "not job.submissions.filter(state__in=UNDECIDED).exists()",
        "True",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a job that ends before it is sent gives its price back",
        "videos.models.job:Job.move",
        """
        if won and to in {JobStatus.FAILED, JobStatus.CANCELLED}:
            self.release_reservation()
        """,
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a submission takes its job's reservation over",
        "videos.lifecycle.sending.begin:begin",
        "Job.objects.filter(pk__in=pks).update(reservation=None, faults=0, fault='')",
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what was not sent for an ended job gives its price back",
        "videos.models.submission:Submission._move_money",
        """
        if job.status != JobStatus.PENDING:
            job.release_reservation()
        """,
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what was accepted after all is charged",
        "videos.models.submission:Submission._move_money",
        "self._attach_reservation(reservations.charge(job.owner, job.api_key, self.price))",
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what was accepted after all takes its reservation back",
        "videos.models.submission:Submission._move_money",
        """
        self._attach_reservation(job.reservation)
        job.attach_reservation(None)
        """,
        "",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "a job is sent at the price that was set aside",
        "videos.lifecycle.sending.begin:begin",
        "job.estimated_cost",
        "None",
        "tests/accounts/test_budgets.py",
    ),
    Guard(
        "what is given back at once is free again",
        "accounts.budgets.reservations:release_all",
        "_end(pks, Reservation.State.RELEASED, NOTHING)",
        "",
        "tests/accounts/test_budgets.py tests/batches/test_ends.py",
    ),
    Guard(
        "what expired after its job was cancelled is settled",
        "videos.lifecycle.following.observe:_observe_failed",
        "video.phase == Phase.EXPIRED",
        "False",
        "tests/videos/test_sync.py",
    ),
    Guard(
        "jobs that end together give their prices back",
        "videos.models.job:Job.move_together",
        "reservations.release_all([job.reservation_id for job in jobs if job.reservation_id is not None])",
        "",
        "tests/batches/test_ends.py",
    ),
    Guard(
        "a retry of a batch sets its prices aside",
        "batches.lifecycle.retry:_retry_anew",
        'Job.objects.bulk_update(jobs, ["reservation", *FIELDS], batch_size=_TOGETHER)',
        "",
        "tests/batches/test_ends.py",
    ),
    Guard(
        "pictures are part of the price",
        "upstreams.offer.fitting:fit",
        "model.cost(size, seconds, len(pictures))",
        "model.cost(size, seconds)",
        "tests/references/test_asked.py -k have_their_price",
    ),
)
