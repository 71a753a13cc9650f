"""The upstream's webhooks: whom we believe, and how little."""

from typing import Final

from tests.faults.guards.guard import Guard

_VIEW = "webhooks/views.py"
_SIGNATURES = "webhooks/signatures.py"
_HINT = "videos/lifecycle/notification.py"
_SIGNED = "tests/webhooks/test_signatures.py"
_HOOK = "tests/webhooks/test_sora_hook.py"
_HINTS = "tests/webhooks/test_hint.py"
_AGAIN = "tests/webhooks/test_duplicates.py"

_VERIFIED: Final = "webhook_id = verify(request.headers, body, settings.SORA_WEBHOOK_SECRET)"
_TAKEN: Final = (
    "    if take_hint(upstream_id, provider=settings.SORA_PROVIDER):\n        seen.remember(webhook_id)\n"
)

GUARDS: Final = (
    Guard(
        "a webhook's signature is asked for",
        _VIEW,
        _VERIFIED,
        'webhook_id = request.headers.get("webhook-id", "")',
        _HOOK,
    ),
    Guard(
        "a webhook's signature is of its body as it came",
        _VIEW,
        "body: bytes = request._request.body",
        'body = __import__("json").dumps(request.data).encode()',
        f"{_HOOK} -k spacing",
    ),
    Guard(
        "a webhook whose signature is wrong is refused",
        _SIGNATURES,
        '    raise Refused("No signature in webhook-signature is right.")\n',
        "    return webhook_id\n",
        _SIGNED,
    ),
    Guard(
        "a webhook's signature covers its id",
        _SIGNATURES,
        'signed = f"{webhook_id}.{timestamp}.".encode() + body',
        'signed = f"wh_1.{timestamp}.".encode() + body',
        f"{_SIGNED} -k anything_else",
    ),
    Guard(
        "a webhook's signature covers its time",
        _SIGNATURES,
        'signed = f"{webhook_id}.{timestamp}.".encode() + body',
        'signed = f"{webhook_id}.{int(time.time())}.".encode() + body',
        f"{_SIGNED} -k anything_else",
    ),
    Guard(
        "one right signature of several is enough",
        _SIGNATURES,
        "for each in signatures.split()]",
        "for each in signatures.split()[:1]]",
        _SIGNED,
    ),
    Guard(
        "while a secret is rotated either is right",
        _SIGNATURES,
        "    for secret in secrets:\n",
        "    for secret in list(secrets)[:1]:\n",
        _SIGNED,
    ),
    Guard(
        "signatures are compared in constant time",
        _SIGNATURES,
        "hmac.compare_digest(made, each)",
        "made == each",
        _SIGNED,
    ),
    Guard(
        "a webhook is at most 300 s old",
        _SIGNATURES,
        "if abs(age) > TOLERANCE_SECONDS:",
        "if -age > TOLERANCE_SECONDS:",
        _SIGNED,
    ),
    Guard(
        "a webhook is at most 300 s ahead",
        _SIGNATURES,
        "if abs(age) > TOLERANCE_SECONDS:",
        "if age > TOLERANCE_SECONDS:",
        _SIGNED,
    ),
    Guard(
        "clocks may differ by 300 s",
        _SIGNATURES,
        "if abs(age) > TOLERANCE_SECONDS:",
        "if abs(age) >= TOLERANCE_SECONDS:",
        _SIGNED,
    ),
    Guard(
        "a timestamp that is no number is refused",
        _SIGNATURES,
        "    except ValueError:\n",
        "    except NotImplementedError:\n",
        _SIGNED,
    ),
    Guard(
        "without a secret there is no hook",
        _VIEW,
        "if not settings.SORA_WEBHOOK_SECRET:",
        "if False:",
        _HOOK,
    ),
    Guard(
        "a webhook has a largest size",
        _VIEW,
        "if len(body) > _BODY_MAX_BYTES:",
        "if False:",
        _HOOK,
    ),
    Guard(
        "only the end of a render is a hint",
        _VIEW,
        'if payload.get("type") in _ENDS:',
        "if True:",
        _HOOK,
    ),
    Guard(
        "an event without a video's id is refused",
        _VIEW,
        "event.is_valid(raise_exception=True)",
        "event.is_valid()",
        _HOOK,
    ),
    Guard(
        "a webhook that comes again is taken once",
        _VIEW,
        "    if seen.was_taken(webhook_id):\n        return\n",
        "",
        _AGAIN,
    ),
    Guard(
        "a webhook that was of no use is taken again",
        _VIEW,
        _TAKEN,
        "    take_hint(upstream_id, provider=settings.SORA_PROVIDER)\n    seen.remember(webhook_id)\n",
        _HINTS,
    ),
    Guard(
        "a webhook that could not be taken is taken again",
        _VIEW,
        _TAKEN,
        "    seen.remember(webhook_id)\n    take_hint(upstream_id, provider=settings.SORA_PROVIDER)\n",
        _AGAIN,
    ),
    Guard(
        "a hint is about its own provider",
        _HINT,
        "Submission.objects.filter(provider__in=Provider.objects.filter(name=provider))",
        "Submission.objects.all()",
        _HOOK,
    ),
    Guard(
        "a hint puts no look off",
        _HINT,
        "due_at__gt=in_database())",
        "due_at__isnull=False)",
        _HINTS,
    ),
    Guard(
        "a hint takes no decision from a person",
        _HINT,
        "later = mine.filter(concerned, due_at__gt=in_database())",
        "later = mine.filter(concerned).exclude(due_at__lte=in_database())",
        _HINTS,
    ),
    Guard(
        "a hint counts as no look for an unknown create",
        "videos/reconciliation/reconcile.py",
        "attempts = max(attempts, sum(1 for each in window if each <= past))",
        "attempts += 1",
        _HINTS,
    ),
    Guard(
        "a hint counts as no look for a missing id",
        _HINT,
        "state=SubmissionState.RENDERING, missing_polls=0)",
        "state=SubmissionState.RENDERING)",
        _HINTS,
    ),
    Guard(
        "a hint leaves alone what is being sent",
        _HINT,
        "concerned = Q(state=SubmissionState.UNKNOWN)",
        "concerned = Q(state__in=[SubmissionState.UNKNOWN, SubmissionState.SENDING])",
        _HINTS,
    ),
    Guard(
        "a hint leaves alone what is being fetched",
        _HINT,
        "state=SubmissionState.RENDERING, missing_polls=0)",
        "missing_polls=0)",
        _HINTS,
    ),
    Guard(
        "a hint about a known id has nothing else looked for",
        _HINT,
        "        concerned = Q(upstream_id=upstream_id, state=SubmissionState.RENDERING, missing_polls=0)\n",
        "        concerned = Q(upstream_id=upstream_id, state=SubmissionState.RENDERING, missing_polls=0)"
        " | Q(state=SubmissionState.UNKNOWN)\n",
        _HINTS,
    ),
    Guard(
        "a hint about an id that is nobody's has unknown creates looked for",
        _HINT,
        "        concerned = Q(state=SubmissionState.UNKNOWN)\n",
        "        return False\n",
        _HINTS,
    ),
    Guard(
        "a hint waits for no row",
        _HINT,
        "select_for_update(skip_locked=True)",
        "select_for_update()",
        f"{_HINTS} -k waits_for_no_lock",
    ),
    Guard(
        "a hint that concerns nothing wakes nobody",
        _HINT,
        "        if found:\n",
        "        if True:\n",
        _HOOK,
    ),
    Guard(
        "a sweep does not put off what a hint made due meanwhile",
        "videos/lifecycle/sync.py",
        "still.exclude(due_at__gt=began, due_at__lte=in_database()).update(",
        "still.update(",
        _HINTS,
    ),
)
