"""What keeps batches whole: accepted together, ended once, cancelled and retried to the last job."""

from typing import Final

from tests.faults.guards.guard import Guard

_SCHEMA = "batches/migrations/0001_initial.py"
_ITEMS = "batches/items.py"
_CREATE = "batches/lifecycle/create.py"
_FINISH = "batches/lifecycle/finish.py"
_CANCEL = "batches/lifecycle/cancel.py"
_RETRY = "batches/lifecycle/retry.py"
_MODELS = "videos/models.py"
_CREATED = "tests/batches/test_create.py"
_ENDS = "tests/batches/test_ends.py"
_LAST = "tests/batches/test_last_jobs.py"
_UPLOADS = "tests/batches/test_uploads.py"

GUARDS: Final = (
    Guard(
        "one bad item refuses them all",
        _ITEMS,
        "        if problems:\n            raise BadItems(problems, bad)\n",
        "",
        _CREATED,
    ),
    Guard(
        "no more items than the most",
        _ITEMS,
        "                if count > self._source.most:",
        "                if False:",
        _CREATED,
    ),
    Guard(
        "an empty batch is refused",
        _ITEMS,
        "        if not count:\n            raise BadItems([NOTHING_SENT])\n",
        "",
        _CREATED,
    ),
    Guard(
        "a ref is used once in a batch",
        _ITEMS,
        "if ref and ref in refs:",
        "if False:",
        _CREATED,
    ),
    Guard(
        "a ref is used once in a group (partial unique index)",
        "videos/migrations/0001_initial.py",
        'fields=("group", "ref"),',
        'fields=("group", "ref", "id"),',
        "tests/videos/test_states.py",
    ),
    Guard(
        "a batch is accepted as a whole or not at all",
        _CREATE,
        "    with transaction.atomic():\n",
        "    if True:\n",
        _CREATED,
    ),
    Guard(
        "a batch finds room for all its jobs",
        _CREATE,
        "        leave_room(owner, 0)\n",
        "",
        _CREATED,
    ),
    Guard(
        "an upload is bounded",
        "api/requests.py",
        "settings.BATCH_UPLOAD_MAX_BYTES if uploading",
        "1 << 40 if uploading",
        _UPLOADS,
    ),
    Guard(
        "a line of an upload is bounded",
        "batches/uploads.py",
        "            if len(line) > LINE_MAX_BYTES:",
        "            if False:",
        _UPLOADS,
    ),
    Guard(
        "an upload is told by its content",
        "accounts/idempotency.py",
        'getattr(request.data, "fingerprint", request.data)',
        'getattr(request.data, "most", request.data)',
        _UPLOADS,
    ),
    Guard(
        "a spreadsheet runs no cell of a manifest",
        "batches/manifest.py",
        "value.startswith(_FORMULA)",
        "False",
        "tests/batches/test_manifest.py",
    ),
    Guard(
        "a round is completed once (partial unique index)",
        _SCHEMA,
        'fields=("batch", "round"),',
        'fields=("batch", "round", "id"),',
        _ENDS,
    ),
    Guard(
        "whether a batch is completed is decided after the commit",
        _MODELS,
        "transaction.on_commit(partial(job_ended.send_robust, Job, group_id=group_id))",
        "job_ended.send_robust(Job, group_id=group_id)",
        _LAST,
    ),
    Guard(
        "the batch's row lock around its completion",
        "batches/models.py",
        'cls.objects.select_for_update(of=("self",)).select_related',
        "cls.objects.select_related",
        _LAST,
    ),
    Guard(
        "a batch is completed only where all its jobs have ended",
        _FINISH,
        "    if going_on.exists():\n        return False\n",
        "",
        _LAST,
        (("or batch.completed_at is not None or going_on.exists():", "or batch.completed_at is not None:"),),
    ),
    Guard(
        "a round that is completed is not completed again",
        _FINISH,
        "or batch.completed_at is not None or going_on",
        "or going_on",
        _ENDS,
    ),
    Guard(
        "a job that is open again opens a round",
        _MODELS,
        "        job_reopened.send(Job, group_id=group_id)",
        "        pass",
        _ENDS,
    ),
    Guard(
        "an end that nobody recorded is found",
        "batches/tasks.py",
        "            complete(batch_id)",
        "            pass",
        _ENDS,
    ),
    Guard(
        "a cancel that was cut short is finished",
        "batches/tasks.py",
        "            cancel_jobs(batch, configured())",
        "            pass",
        _ENDS,
    ),
    Guard(
        "nothing of a batch is sent once it is being cancelled",
        _CANCEL,
        "            Group.objects.filter(pk=batch.pk).update(held=True)\n",
        "",
        _ENDS,
    ),
    Guard(
        "nothing is retried while its batch is being cancelled",
        _FINISH,
        "            raise BeingCancelled\n",
        "            return\n",
        _ENDS,
    ),
    Guard(
        "a batch that has ended is not cancelled",
        _CANCEL,
        "if locked is None or locked.completed_at is not None or not going_on.exists():",
        "if locked is None:",
        _ENDS,
    ),
    Guard(
        "jobs that end together give their prices back",
        _MODELS,
        "budgets.release_all([job.reservation_id for job in jobs if job.reservation_id is not None])",
        "pass",
        _ENDS,
    ),
    Guard(
        "jobs that move together have their history",
        _MODELS,
        "number=numbers.get(pk, 0) + 1,",
        "number=9,",
        _ENDS,
    ),
    Guard(
        "only what failed of a batch is retried",
        _RETRY,
        "status=JobStatus.FAILED)",
        'status__in=["failed", "cancelled"])',
        _ENDS,
    ),
    Guard(
        "a retry of a batch goes on with what still renders",
        _RETRY,
        "if job.pk not in begun], api_key)",
        "], api_key)",
        _ENDS,
    ),
    Guard(
        "a retry of a batch sets its prices aside",
        _RETRY,
        '    Job.objects.bulk_update(jobs, ["reservation"], batch_size=_TOGETHER)\n',
        "",
        _ENDS,
    ),
    Guard(
        "a retry of a batch takes its locks in the order of any other",
        _RETRY,
        "        Batch.lock(batch.pk)\n",
        "",
        _LAST,
    ),
    Guard(
        "an upload that breaks off is refused",
        "batches/uploads.py",
        "        if file.tell() != announced:",
        "        if False:",
        _UPLOADS,
    ),
    Guard(
        "only what is kept on disk may be as large as an upload",
        "api/requests.py",
        "            and request.content_type in settings.UPLOAD_TYPES\n",
        "",
        _UPLOADS,
    ),
    Guard(
        "a row of an upload is bounded",
        "batches/uploads.py",
        "            if self._bytes > LINE_MAX_BYTES:",
        "            if False:",
        _UPLOADS,
    ),
    Guard(
        "a pause ends with its round",
        _FINISH,
        "        Group.objects.filter(pk=batch.pk, held=True).update(held=False)\n",
        "",
        _ENDS,
    ),
    Guard(
        "a retry of a batch is one or none",
        _RETRY,
        "    with transaction.atomic():\n",
        "    if True:\n",
        _ENDS,
    ),
    Guard(
        "a batch is seen by its owner alone",
        "batches/api/views.py",
        'self.kwargs["pk"], through="group__")',
        'self.kwargs["pk"], through="group__") if False else Batch.objects.get(pk=self.kwargs["pk"])',
        "tests/api/test_ownership.py",
    ),
)
