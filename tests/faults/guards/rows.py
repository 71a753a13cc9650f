"""What the database refuses, what a move judges, and which locks are held meanwhile."""

from typing import Final

from tests.faults.guards.guard import Guard

# The migration, not the model, makes the schema; `makemigrations --check` keeps the two the same.
_SCHEMA = "videos/migrations/0001_initial.py"
_MODELS = "videos/models.py"
_STATES = "tests/videos/test_states.py"
_LOCKS = "tests/videos/test_races.py"
# What a claim writes into the history.
_SAID = 'JobEvent.record(job, "submission", "", SubmissionState.SENDING, now, number=submission.number)'

GUARDS: Final = (
    Guard(
        "one live submission per job (partial unique index)",
        _SCHEMA,
        'fields=("job",),\n                name="submission_one_live"',
        'fields=("job", "id"),\n                name="submission_one_live"',
        _STATES,
    ),
    Guard(
        "one undecided submission per match key (partial unique index)",
        _SCHEMA,
        'fields=("provider", "match_key"),',
        'fields=("provider", "match_key", "id"),',
        _STATES,
    ),
    Guard(
        "an upstream id in one submission (partial unique index)",
        _SCHEMA,
        'fields=("provider", "upstream_id"),',
        'fields=("provider", "upstream_id", "id"),',
        _STATES,
    ),
    Guard(
        "a job's submissions are numbered (unique constraint)",
        _SCHEMA,
        'fields=("job", "number"), name="submission_number"',
        'fields=("job", "number", "id"), name="submission_number"',
        _STATES,
    ),
    Guard(
        "a job's history is numbered (unique constraint)",
        _SCHEMA,
        'fields=("job", "number"), name="job_event_number"',
        'fields=("job", "number", "id"), name="job_event_number"',
        _STATES,
    ),
    Guard(
        "what was accepted has an upstream id (check constraint)",
        _SCHEMA,
        '("upstream_id__isnull", False),\n                    _connector="OR",',
        '("id__isnull", False),\n                    _connector="OR",',
        _STATES,
    ),
    Guard(
        "a cost belongs to its state (check constraint)",
        _SCHEMA,
        '_connector="OR",\n                ),\n                name="submission_cost_of_state"',
        '("id__isnull", False), _connector="OR",\n                ),\n'
        '                name="submission_cost_of_state"',
        _STATES,
    ),
    Guard(
        "a job's status is a known one (check constraint)",
        _SCHEMA,
        '("status__in", ["pending", "processing", "completed", "failed", "cancelled"])',
        '("status__isnull", False)',
        _STATES,
    ),
    Guard(
        "a completed job has a video (check constraint)",
        _SCHEMA,
        'models.Q(("video", ""), _negated=True)',
        'models.Q(("video__isnull", False))',
        _STATES,
    ),
    Guard(
        "a failed job has a reason (check constraint)",
        _SCHEMA,
        'models.Q(("error_code", ""), _negated=True)',
        'models.Q(("error_code__isnull", False))',
        _STATES,
    ),
    Guard(
        "progress is a percentage (check constraint)",
        _SCHEMA,
        'models.Q(("progress__lte", 100))',
        'models.Q(("progress__isnull", False))',
        _STATES,
    ),
    Guard(
        "Job.move judges the row's status",
        _MODELS,
        "won = Job.objects.filter(pk=self.pk, status__in=allowed)",
        "won = Job.objects.filter(pk=self.pk)",
        _STATES,
    ),
    Guard(
        "Submission.move judges the row's state",
        _MODELS,
        "won = Submission.objects.filter(pk=self.pk, state__in=allowed)",
        "won = Submission.objects.filter(pk=self.pk)",
        _STATES,
    ),
    Guard(
        "a settled cost stays settled",
        _MODELS,
        "        if self.cost_state == CostState.SETTLED:\n",
        "        if False:\n",
        _STATES,
    ),
    Guard(
        "a move writes its history",
        _MODELS,
        '            JobEvent.record(self, "job", before, to, now, detail=detail)',
        "            pass",
        _STATES,
    ),
    Guard(
        "work is claimed only when it is due",
        _MODELS,
        "state=self.state, due_at__lte=in_database())",
        "state=self.state)",
        "tests/videos/test_reconcile.py",
    ),
    Guard(
        "the job's row lock around a record",
        _MODELS,
        "        job = Job.lock(pk=submission.job_id)\n",
        "        job = Job.objects.get(pk=submission.job_id)\n",
        _LOCKS,
    ),
    Guard(
        "job and submission move in one transaction",
        _MODELS,
        "    with transaction.atomic(durable=True):\n        job = Job.lock(pk=submission.job_id)\n",
        "    if True:\n        job = Job.objects.get(pk=submission.job_id)\n",
        f"{_LOCKS} -k job_and_its_submission_move_together",
    ),
    Guard(
        "a record is committed by itself, whoever calls",
        _MODELS,
        "    with transaction.atomic(durable=True):\n        job = Job.lock",
        "    with transaction.atomic():\n        job = Job.lock",
        _LOCKS,
    ),
    Guard(
        "the provider's row lock around a claim",
        "videos/lifecycle/submit.py",
        "Provider.objects.select_for_update().get",
        "Provider.objects.get",
        _LOCKS,
    ),
    Guard(
        "the job's row lock in a claim",
        "videos/queue/selection.py",
        'sendable.select_for_update(skip_locked=True, of=("self",)).first()',
        "sendable.first()",
        _LOCKS,
    ),
    Guard(
        "a claim's submission and history in one transaction",
        "videos/lifecycle/submit.py",
        f"        {_SAID}\n        return submission\n",
        f"    {_SAID}\n    return submission\n",
        f"{_LOCKS} -k claim_and_its_history_are_written",
    ),
    Guard(
        "the job's row lock in a cancel",
        "videos/lifecycle/cancel.py",
        "job = Job.lock(pk=job.pk)",
        "job = Job.objects.get(pk=job.pk)",
        _LOCKS,
    ),
    Guard(
        "the job's row lock in a retry",
        "videos/lifecycle/retry.py",
        "job = Job.lock(pk=job.pk)",
        "job = Job.objects.get(pk=job.pk)",
        _LOCKS,
    ),
)
