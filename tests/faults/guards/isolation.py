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
        "accounts.idempotency:",
        "IdempotencyKey.objects.filter(owner=owner, key=key)",
        "IdempotencyKey.objects.filter(key=key)",
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
    Guard(
        "a picture is used by its owner alone",
        "videos.references.asked:known",
        "owned_by(ReferenceImage.objects.all(), owner)",
        "ReferenceImage.objects.all()",
        "tests/references/test_asked.py -k another_owner",
    ),
    Guard(
        "the same picture of two owners is two",
        "videos.references.keep:keep",
        "ReferenceImage.objects.filter(owner=owner, sha256=checked.sha256)",
        "ReferenceImage.objects.filter(sha256=checked.sha256)",
        "tests/references/test_asked.py -k another_owner",
    ),
    Guard(
        "fetches of one owner leave room for others",
        "videos.references.asked:_fetch_turn",
        "_fetching[owner.pk] >= _FETCHES_OF_ONE_OWNER",
        "",
        "tests/references/test_asked.py -k leave_room",
    ),
    Guard(
        "pictures are fetched from public addresses only",
        "videos.references.fetch:fetch",
        "watch.permits = permits",
        "pass",
        "tests/references/test_fetch.py",
    ),
    Guard(
        "no proxy or password of the environment is used for a picture",
        "videos.references.fetch:fetch",
        "session.trust_env = False",
        "pass",
        "tests/references/test_fetch.py",
    ),
    Guard(
        "a picture is fetched by https alone",
        "videos.references.fetch:_checked",
        'origin.scheme != "https"',
        "False",
        "tests/references/test_fetch.py",
    ),
    Guard(
        "a picture is fetched from the usual port alone",
        "videos.references.fetch:_checked",
        "origin.port not in ports",
        "False",
        "tests/references/test_fetch.py",
    ),
)
