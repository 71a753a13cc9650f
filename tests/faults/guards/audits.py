"""What an audit may say of the upstream's list and our rows."""

from typing import Final

from tests.faults.guards.guard import Guard

_AUDIT = "videos/reconciliation/audit.py"
_TESTS = "tests/videos/test_audit.py"

GUARDS: Final = (
    Guard(
        "an audit is claimed once",
        _AUDIT,
        "in_database(settings.AUDIT_SECONDS)):\n        return\n",
        "in_database(settings.AUDIT_SECONDS)):\n        pass\n",
        _TESTS,
    ),
    Guard(
        "the next audit comes after its time",
        _AUDIT,
        "Q(audit_due_at__lte=in_database())",
        "Q(audit_due_at__isnull=False)",
        _TESTS,
    ),
    Guard(
        "the first audit comes after its time",
        _AUDIT,
        "Q(audit_due_at__isnull=True, created_at__lte=in_database(-settings.AUDIT_SECONDS))",
        "Q(audit_due_at__isnull=True)",
        _TESTS,
    ),
    Guard(
        "audits can be turned off",
        _AUDIT,
        "    if not settings.AUDIT_SECONDS or provider.backoff_seconds():\n",
        "    if provider.backoff_seconds():\n",
        _TESTS,
    ),
    Guard(
        "an audit reads so many pages and no more",
        _AUDIT,
        "walk(upstream, most=settings.AUDIT_PAGES)",
        "walk(upstream)",
        _TESTS,
    ),
    Guard(
        "an audit asks no upstream without a list",
        _AUDIT,
        "    if not upstream.dialect.lists:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "an audit finds nothing by a faulty list",
        _AUDIT,
        "            if page.fault:\n",
        "            if False:\n",
        _TESTS,
    ),
    Guard(
        "an audit finds nothing by a list that breaks off",
        _AUDIT,
        "        return Audit(upstream.name, f\"it could not be read: {str(error).rstrip('.')}\")\n",
        '        logger.warning("%s", error)\n        ended = True\n',
        _TESTS,
    ),
    Guard(
        "an audit finds nothing by a list without dates",
        _AUDIT,
        "    if since is None and not ended:\n",
        "    if False:\n",
        _TESTS,
    ),
    Guard(
        "a young video is no orphan yet",
        _AUDIT,
        "        if made is None or made > settled:\n",
        "        if made is None:\n",
        _TESTS,
    ),
    Guard(
        "a video without a date is no orphan",
        _AUDIT,
        "        if made is None or made > settled:\n",
        "        if made is not None and made > settled:\n",
        _TESTS,
    ),
    Guard(
        "what an undecided create may have become is no orphan",
        _AUDIT,
        "        if not any(may_be_its(video, submission, dialect) for submission in undecided):\n",
        "        if True:\n",
        _TESTS,
    ),
    Guard(
        "only an undecided create excuses an orphan",
        _AUDIT,
        "filter(provider=provider, state__in=UNDECIDED)",
        "filter(provider=provider)",
        _TESTS,
    ),
    Guard(
        "only a create of the same provider excuses an orphan",
        _AUDIT,
        "filter(provider=provider, state__in=UNDECIDED)",
        "filter(state__in=UNDECIDED)",
        _TESTS,
    ),
    Guard(
        "what is adopted during an audit is no orphan",
        _AUDIT,
        "    undecided = list(Submission.objects.filter(provider=provider, state__in=UNDECIDED))\n"
        "    strangers = unowned(provider, listed)\n",
        "    strangers = unowned(provider, listed)\n"
        "    undecided = list(Submission.objects.filter(provider=provider, state__in=UNDECIDED))\n",
        _TESTS,
    ),
    Guard(
        "an audit allows for the clocks' difference with young videos",
        _AUDIT,
        "    settled = began - undecided_for - timedelta(seconds=settings.SORA_CLOCK_SKEW)\n",
        "    settled = began - undecided_for\n",
        _TESTS,
    ),
    Guard(
        "an audit allows for the clocks' difference with old submissions",
        _AUDIT,
        "within = since + timedelta(seconds=settings.SORA_CLOCK_SKEW + 1)",
        "within = since",
        _TESTS,
    ),
    Guard(
        "an audit judges only what it read",
        _AUDIT,
        "reached = Q(state__in=_NEEDED) if ended else Q(pk__in=[])",
        "reached = Q(state__in=_NEEDED)",
        _TESTS,
    ),
    Guard(
        "a list may have forgotten what is finished",
        _AUDIT,
        "reached = Q(state__in=_NEEDED) if ended else Q(pk__in=[])",
        "reached = Q() if ended else Q(pk__in=[])",
        _TESTS,
    ),
    Guard(
        "where a submission stands on the list is told by its create",
        _AUDIT,
        "Q(created_at__gte=within)",
        "Q(accepted_at__gte=within)",
        _TESTS,
    ),
    Guard(
        "what has expired is not missing",
        _AUDIT,
        "        Q(expires_at__isnull=True) | Q(expires_at__gt=in_database()),\n",
        "",
        _TESTS,
    ),
    Guard(
        "what was dropped or lost is not missing",
        _AUDIT,
        "        state__in=_LISTED,\n",
        "",
        _TESTS,
    ),
    Guard(
        "what was accepted a moment ago is not missing",
        _AUDIT,
        "        accepted_at__lte=settled,\n",
        "",
        _TESTS,
    ),
    Guard(
        "what was sent to another provider is not missing",
        _AUDIT,
        "        provider=provider,\n        state__in=_LISTED,\n",
        "        state__in=_LISTED,\n",
        _TESTS,
    ),
)
