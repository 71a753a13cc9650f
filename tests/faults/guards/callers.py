"""A request that is carried out once, however often it is sent."""

from typing import Final

from tests.faults.guards.guard import Guard

_IDEMPOTENCY = "accounts/idempotency.py"
# The migration, not the model, makes the schema; `makemigrations --check` keeps the two the same.
_SCHEMA = "accounts/migrations/0001_initial.py"
_TESTS = "tests/api/test_idempotency.py"

# Without the transaction there is no lock to take either.
_NO_TRANSACTION: Final = (
    "            with transaction.atomic():\n",
    "            if True:\n",
)
_NO_LOCK: Final = ((".select_for_update(skip_locked=True)", ""),)

GUARDS: Final = (
    Guard(
        "an idempotency key is kept once (unique constraint)",
        _SCHEMA,
        'fields=("owner", "key"), name="idempotency_key_once"',
        'fields=("owner", "key", "id"), name="idempotency_key_once"',
        _TESTS,
    ),
    Guard(
        "an idempotency key is its owner's (unique constraint)",
        _SCHEMA,
        'fields=("owner", "key"), name="idempotency_key_once"',
        'fields=("key",), name="idempotency_key_once"',
        _TESTS,
    ),
    Guard(
        "an idempotency key is its owner's",
        _IDEMPOTENCY,
        "IdempotencyKey.objects.filter(owner=request.user, key=key)",
        "IdempotencyKey.objects.filter(key=key)",
        _TESTS,
    ),
    Guard(
        "an idempotency key is kept with what it made, or not at all",
        _IDEMPOTENCY,
        *_NO_TRANSACTION,
        f"{_TESTS} -k crash_after_the_job_was_made",
        _NO_LOCK,
    ),
    Guard(
        "an error keeps no idempotency key",
        _IDEMPOTENCY,
        *_NO_TRANSACTION,
        f"{_TESTS} -k refused_request_leaves_its_key_free",
        _NO_LOCK,
    ),
    Guard(
        "an idempotency key is kept before the request is carried out",
        _IDEMPOTENCY,
        "    row = IdempotencyKey.objects.create(owner=request.user, key=key, request_hash=request_hash)"
        "  # type: ignore[misc]\n    response = carry_out()\n",
        "    response = carry_out()\n"
        "    row = IdempotencyKey.objects.create(owner=request.user, key=key, request_hash=request_hash)\n",
        _TESTS,
    ),
    Guard(
        "a twin gets the answer of the first",
        _IDEMPOTENCY,
        "        except IntegrityError:\n",
        "        except NotImplementedError:\n",
        _TESTS,
    ),
    Guard(
        "a collision of other things is not taken for a twin",
        _IDEMPOTENCY,
        "            if kept is None:\n                raise\n",
        "            if kept is None:\n                return carry_out()\n",
        _TESTS,
    ),
    Guard(
        "an idempotency key is refused for another request",
        _IDEMPOTENCY,
        "    if kept.request_hash != request_hash:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "a request is told by its body",
        _IDEMPOTENCY,
        "[request.method, address, body]",
        "[request.method, address]",
        _TESTS,
    ),
    Guard(
        "a request is told by its address",
        _IDEMPOTENCY,
        "[request.method, address, body]",
        "[request.method, body]",
        _TESTS,
    ),
    Guard(
        "a request is the same in another order of its fields",
        _IDEMPOTENCY,
        "sort_keys=True",
        "sort_keys=False",
        _TESTS,
    ),
    Guard(
        "an idempotency key is forgotten after 24 hours",
        _IDEMPOTENCY,
        "    return mine.filter(created_at__gt=Now() - KEPT_FOR)\n",
        "    return mine\n",
        _TESTS,
    ),
    Guard(
        "an idempotency key is not forgotten before 24 hours",
        _IDEMPOTENCY,
        "timedelta(hours=24)",
        "timedelta(hours=23)",
        _TESTS,
    ),
    Guard(
        "an expired idempotency key makes room",
        _IDEMPOTENCY,
        "    _forget_expired(request, key)\n    row",
        "    row",
        _TESTS,
    ),
    Guard(
        "an expired idempotency key makes room however many there are",
        _IDEMPOTENCY,
        "    expired.filter(key=key).delete()\n",
        "",
        _TESTS,
    ),
    Guard(
        "only expired idempotency keys are deleted",
        _IDEMPOTENCY,
        "filter(owner=request.user, created_at__lte=Now() - KEPT_FOR)",
        "filter(owner=request.user)",
        _TESTS,
    ),
    Guard(
        "expired idempotency keys hold up no request",
        _IDEMPOTENCY,
        "select_for_update(skip_locked=True)",
        "select_for_update()",
        _TESTS,
    ),
    Guard(
        "few expired idempotency keys are deleted at once",
        _IDEMPOTENCY,
        "found[:_FORGOTTEN_AT_ONCE]",
        "found",
        _TESTS,
    ),
    Guard(
        "a quoted idempotency key is the bare one",
        _IDEMPOTENCY,
        "    if len(key) >= 2 and key[0] == key[-1] == '\"':\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "an unusable idempotency key is refused",
        _IDEMPOTENCY,
        "    if not _USABLE.fullmatch(key):\n",
        "    if False:\n",
        _TESTS,
    ),
)
