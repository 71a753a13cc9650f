"""What is another owner's is neither reached nor shown."""

from typing import Final

from tests.faults.guards.guard import Guard

GUARDS: Final = (
    Guard(
        "an idempotency key is its owner's (unique constraint)",
        "accounts.migrations.0001_first_release:",
        'models.UniqueConstraint(fields=("owner", "key"), name="idempotency_key_once")',
        'models.UniqueConstraint(fields=("key",), name="idempotency_key_once")',
        "tests/api/test_idempotency.py",
    ),
    Guard(
        "an idempotency key is its owner's",
        "accounts.idempotency:_kept",
        "owner=request.user",
        "",
        "tests/api/test_idempotency.py",
    ),
    Guard(
        "another person's job is 403 in the plain face",
        "accounts.ownership:get_owned",
        "reveals and rows.filter(pk=pk).exists()",
        "False",
        "tests/api/test_generate.py",
    ),
    Guard(
        "callers reach their own rows only",
        "accounts.ownership:owned_by",
        'rows.filter(**{f"{through}owner": owner})',
        "rows",
        "tests/api/test_ownership.py",
    ),
    Guard(
        "only where a caller is told does another's row say that it is there",
        "accounts.ownership:get_owned",
        "reveals and rows.filter(pk=pk).exists()",
        "rows.filter(pk=pk).exists()",
        "tests/api/test_ownership.py",
    ),
    Guard(
        "a hint is about its own provider",
        "videos.lifecycle.notification:apply_notification",
        "Submission.objects.filter(provider__in=Provider.objects.filter(name=provider))",
        "Submission.objects.all()",
        "tests/webhooks/test_sora_hook.py",
    ),
    Guard(
        "a batch is seen by its owner alone",
        "batches.api.views:BatchViewSet.get_object",
        'get_owned(Batch.objects.select_related("group"), owner, self.kwargs["pk"], through="group__")',
        'Batch.objects.get(pk=self.kwargs["pk"])',
        "tests/api/test_ownership.py",
    ),
)
