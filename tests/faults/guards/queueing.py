"""Whose job is sent next, and what others are told of their places."""

from typing import Final

from tests.faults.guards.guard import Guard

_CHOOSE = "videos/queue/selection.py"
_SUBMIT = "videos/lifecycle/submit.py"
_QUEUE = "videos/queue/positions.py"
_TESTS = "tests/videos/test_choose.py"
_SUBMIT_TESTS = "tests/videos/test_submit.py"
_QUEUE_TESTS = "tests/videos/test_queue.py"

GUARDS: Final = (
    Guard(
        "no second live submission of a job in a claim",
        _CHOOSE,
        '            ~Exists(Submission.objects.filter(state__in=LIVE, job=OuterRef("pk"))),\n',
        "",
        _SUBMIT_TESTS,
    ),
    Guard(
        "one job per match key in a claim",
        _CHOOSE,
        "            ~Exists(alike),\n",
        "",
        _SUBMIT_TESTS,
    ),
    Guard(
        "a job waits until it is due",
        _CHOOSE,
        "            due_at__lte=in_database(),\n",
        "",
        _SUBMIT_TESTS,
    ),
    Guard(
        "a claim takes pending jobs only",
        _CHOOSE,
        "filter(status=JobStatus.PENDING, priority=self.priority, **mine)",
        "filter(priority=self.priority, **mine)",
        f"{_TESTS} {_SUBMIT_TESTS}",
    ),
    Guard(
        "the next job is the most urgent",
        _CHOOSE,
        "return -level(lane.priority, asked_at, now), turns",
        "return 0, turns",
        _SUBMIT_TESTS,
    ),
    Guard(
        "of equally urgent jobs of an owner the next is the oldest",
        _CHOOSE,
        'waiting.order_by("asked_at", "id")',
        'waiting.order_by("-asked_at", "-id")',
        _TESTS,
    ),
    Guard(
        "a job grows more urgent while it waits",
        _CHOOSE,
        "priority + int((now - asked_at) / timedelta(seconds=settings.PRIORITY_AGEING))",
        "priority",
        _TESTS,
    ),
    Guard(
        "no job grows more urgent than the most urgent",
        _CHOOSE,
        "PRIORITY_AGEING)), max(Priority))",
        "PRIORITY_AGEING)), 99)",
        _TESTS,
    ),
    Guard(
        "owners come in turn",
        _CHOOSE,
        "turns.get(lane.owner_id, 0), asked_at",
        "0, asked_at",
        _TESTS,
    ),
    Guard(
        "who was served is remembered",
        _SUBMIT,
        "        serve(provider, job.owner_id)\n",
        "",
        _TESTS,
    ),
    Guard(
        "a lane stands where its next job stands",
        _CHOOSE,
        "            heapq.heappush(heads, (rank(lane, job.asked_at), number, lane, job))",
        "            return job",
        _TESTS,
    ),
    Guard(
        "a claim waits for no job that is locked",
        _CHOOSE,
        "select_for_update(skip_locked=True, of",
        "select_for_update(of",
        f"{_TESTS} -k locked",
    ),
    Guard(
        "a group runs no more than its limit",
        _CHOOSE,
        "running.get(lane.group_id, 0) >= lane.limit",
        "False",
        _TESTS,
    ),
    Guard(
        "all live submissions count for a group",
        _CHOOSE,
        "        Submission.objects.filter(state__in=LIVE)\n        .exclude(job__group=None)",
        '        Submission.objects.filter(state="sending")\n        .exclude(job__group=None)',
        _TESTS,
    ),
    Guard(
        "nothing of a held group is claimed",
        _CHOOSE,
        "if lane.held or (",
        "if (",
        _TESTS,
    ),
    Guard(
        "the last check: its group is not held",
        _SUBMIT,
        "        Q(job__group=None) | Q(job__group__held=False),\n",
        "",
        "tests/batches/test_ends.py",
    ),
    Guard(
        "the last check: no operator has stopped the provider",
        _SUBMIT,
        "        provider__stopped_at=None,\n",
        "",
        _SUBMIT_TESTS,
    ),
    Guard(
        "a group is in the way with no more than it may run",
        _QUEUE,
        "count, min(count, groups[group][1]))",
        "count, count)",
        _QUEUE_TESTS,
    ),
    Guard(
        "a job has a place only while it waits",
        _QUEUE,
        ".exclude(pk__in=sent)",
        "",
        _QUEUE_TESTS,
    ),
    Guard(
        "estimates do not change an ETag",
        "videos/api/views.py",
        ' if not name.startswith("estimatedCompletion")',
        "",
        _QUEUE_TESTS,
    ),
)
