"""Claiming a job and sending it once."""

from typing import Final

from tests.faults.guards.guard import Guard

_SUBMIT = "videos/lifecycle/submit.py"
_TESTS = "tests/videos/test_submit.py"

GUARDS: Final = (
    Guard(
        "no more live submissions than the concurrency",
        _SUBMIT,
        "if live.count() >= upstream.concurrency:",
        "if False:",
        _TESTS,
    ),
    Guard(
        "a claim is committed before its POST, whoever calls",
        _SUBMIT,
        "    with transaction.atomic(durable=True):\n        provider",
        "    with transaction.atomic():\n        provider",
        "tests/videos/test_races.py",
    ),
    Guard(
        "a last check before the POST",
        _SUBMIT,
        "    if not _may_send(submission, upstream):",
        "    if False:",
        _TESTS,
    ),
    Guard(
        "the last check: the submission is still ours to send",
        _SUBMIT,
        "        state=SubmissionState.SENDING,\n        lease_until__gt",
        "        lease_until__gt",
        _TESTS,
    ),
    Guard(
        "the last check: the lease covers the whole call",
        _SUBMIT,
        "lease_until__gt=in_database(upstream.deadline),",
        "lease_until__gt=in_database(),",
        _TESTS,
    ),
    Guard(
        "the last check: the job still wants it",
        _SUBMIT,
        "        job__status=JobStatus.PENDING,\n        provider",
        "        provider",
        _TESTS,
    ),
    Guard(
        "nothing is sent to a paused provider",
        "videos/models.py",
        " and self.paused_at is None and not self.is_held()",
        " and not self.is_held()",
        _TESTS,
    ),
    Guard(
        "nothing is sent to a held provider",
        "videos/models.py",
        " and self.paused_at is None and not self.is_held()",
        " and self.paused_at is None",
        _TESTS,
    ),
    Guard(
        "Retry-After is kept",
        _SUBMIT,
        "        wait = min(retry_after, _RETRY_AFTER_MOST) * random.uniform(1, 1.1)",
        "        wait = 0.0",
        _TESTS,
    ),
    Guard(
        "Retry-After has a cap",
        _SUBMIT,
        "min(retry_after, _RETRY_AFTER_MOST)",
        "retry_after",
        _TESTS,
    ),
    Guard(
        "what never left is not sent again at once",
        "videos/lifecycle/pace.py",
        "return max(0.2, random.uniform(0, min(most, 2 ** min(failures, 16))))",
        "return 0.0",
        _TESTS,
    ),
    Guard(
        "a refused key pauses the provider",
        _SUBMIT,
        "        _pause(submission, str(error))\n",
        "        _hold(submission, str(error), None)\n",
        _TESTS,
    ),
    Guard(
        "a pause lasts until a probe is due and succeeds",
        "videos/lifecycle/look.py",
        "        upstream.client.probe()\n",
        "        pass\n",
        _TESTS,
    ),
    Guard(
        "probes are a growing while apart",
        "videos/lifecycle/look.py",
        "paused_at__isnull=False, probe_due_at__lte=in_database()",
        "paused_at__isnull=False",
        _TESTS,
    ),
    Guard(
        "a 404 on create asks for the list before it blames the job",
        _SUBMIT,
        "    try:\n        upstream.client.probe()\n",
        "    try:\n        pass\n",
        _TESTS,
    ),
    Guard(
        "an unknown outcome is not taken for unsent",
        _SUBMIT,
        "        record_unknown(submission, str(error), answered=error.answered)\n",
        "        _hold(submission, str(error), None)\n",
        _TESTS,
    ),
    Guard(
        "an id that is another submission's is no acceptance",
        _SUBMIT,
        "    if Submission.objects.filter(provider=submission.provider_id, upstream_id=video.id).exists():",
        "    if False:",
        _TESTS,
    ),
    Guard(
        "an answer that comes late starts no ended job",
        _SUBMIT,
        "job.move(JobStatus.PROCESSING, only_from=[JobStatus.PENDING], ",
        "job.move(JobStatus.PROCESSING, ",
        f"{_TESTS} tests/videos/test_reconcile.py",
    ),
    Guard(
        "expired leases are judged",
        "videos/lifecycle/look.py",
        "    expire_leases()\n",
        "",
        _TESTS,
    ),
    Guard(
        "a lease is judged by its end",
        _SUBMIT,
        "filter(state=SubmissionState.SENDING, due_at__lte=in_database())",
        "filter(state=SubmissionState.SENDING)",
        _TESTS,
    ),
    Guard(
        "hints are published after the commit",
        "videos/wake.py",
        "    transaction.on_commit(partial(_hints.leave, task), robust=True)",
        "    _hints.leave(task)",
        "tests/api/test_create.py",
    ),
    Guard(
        "a broker that is away refuses no job",
        "videos/wake.py",
        "    except (OperationalError, RedisError, OSError) as error:",
        "    except RedisError as error:",
        "tests/api/test_create.py",
    ),
    Guard(
        "callers reach their own rows only",
        "accounts/ownership.py",
        'return rows.filter(**{f"{through}owner": owner})',
        "return rows",
        "tests/api/test_ownership.py",
    ),
    Guard(
        "only where a caller is told does another's row say that it is there",
        "accounts/ownership.py",
        "if told and rows",
        "if rows",
        "tests/api/test_ownership.py",
    ),
)
