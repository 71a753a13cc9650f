"""What a deployment's rows say against what its upstream was paid for."""

import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from tests.faults.stack import Stack
from videos.states import JOB_ENTERED_FROM, JOB_OPEN, LIVE, SUBMISSION_ENTERED_FROM, UNDECIDED

_SKEW = timedelta(seconds=3)
_JOBS = "SELECT id, status, video FROM videos_job"
_PROMPTS = "SELECT id, fitted->>'prompt' FROM videos_job ORDER BY id"
_SUBMISSIONS = (
    "SELECT job_id, number, state, upstream_id, cost_state, price, request->>'prompt',"
    " created_at, lease_until FROM videos_submission"
)
_EVENTS = (
    "SELECT job_id, subject, submission_number, from_state, to_state, created_at"
    " FROM videos_jobevent ORDER BY job_id, number"
)
_BATCHES_OPEN = (
    "SELECT group_id FROM batches_batch WHERE completed_at IS NULL OR round <> ("
    "SELECT count(*) FROM batches_batchevent WHERE batch_id = group_id AND kind = 'completed')"
)


@dataclass
class Books:
    """What was found. Every list of faults is empty where all promises were kept."""

    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    paid_twice: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unknown_open: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    against_the_tables: list[str] = field(default_factory=list)
    without_file: list[str] = field(default_factory=list)
    # Batches of which an end was not recorded, or not once a round.
    batches_open: list[str] = field(default_factory=list)
    settled: Decimal = Decimal(0)
    billed: Decimal = Decimal(0)
    # Whether something was given up or lost: what it cost is then settled on suspicion.
    suspected: bool = False
    # Seconds for which each create of unknown outcome stayed unknown.
    unknown_seconds: list[float] = field(default_factory=list)
    # Seconds between two moves of any submission, at most: how long all work stood still.
    longest_pause: float = 0.0

    def faults(self) -> dict[str, Any]:
        """All that is wrong; empty where nothing is."""
        found: dict[str, Any] = {
            name: value
            for name in (
                "lost",
                "paid_twice",
                "orphans",
                "unknown_open",
                "swapped",
                "against_the_tables",
                "without_file",
                "batches_open",
            )
            if (value := getattr(self, name))
        }
        if self.settled != self.billed and not self.suspected:
            found["money"] = f"settled {self.settled}, billed {self.billed}"
        return found


def is_quiet(stack: Stack) -> bool:
    """Whether nothing is under way any more."""
    jobs = stack.ask("SELECT count(*) FROM videos_job WHERE status = ANY(%s)", sorted(JOB_OPEN))
    live = stack.ask("SELECT count(*) FROM videos_submission WHERE state = ANY(%s)", sorted(LIVE))
    batches = stack.ask("SELECT count(*) FROM batches_batch WHERE completed_at IS NULL")
    return jobs == live == batches == [(0,)]


def ledger(stack: Stack) -> list[dict[str, Any]]:
    """Every paid create of the upstream, by its own count."""
    entries: list[dict[str, Any]] = []
    while True:
        after = entries[-1]["number"] if entries else 0
        answer = requests.get(
            f"{stack.control}/ledger", params={"after": after, "limit": 1000}, timeout=30
        ).json()
        if not answer["data"]:
            return entries
        entries += answer["data"]


def judge(stack: Stack, accepted: Collection[str], retries: Mapping[str, int] | None = None) -> Books:
    """Compares rows and ledger. `accepted`: the jobs that callers were promised; `retries`: how often each
    was asked for again."""
    books = Books()
    entries = {entry["id"]: entry for entry in ledger(stack)}
    _judge_jobs(stack, accepted, books)
    _judge_submissions(stack, entries, retries or {}, books)
    _judge_histories(stack, books)
    books.batches_open += [str(pk) for (pk,) in stack.ask(_BATCHES_OPEN)]
    return books


def _judge_jobs(stack: Stack, accepted: Collection[str], books: Books) -> None:
    jobs = {str(pk): (status, video) for pk, status, video in stack.ask(_JOBS)}
    books.statuses.update(status for status, _ in jobs.values())
    books.lost += [pk for pk in accepted if pk not in jobs or jobs[pk][0] in JOB_OPEN]
    media = Path(stack.settings["TAKEONE_VAR"]) / "media"
    for pk, (status, video) in jobs.items():
        if status == "completed" and (media / video).read_bytes()[4:8] != b"ftyp":
            books.without_file.append(pk)


def _judge_submissions(
    stack: Stack, entries: dict[str, dict[str, Any]], retries: Mapping[str, int], books: Books
) -> None:
    paid: Counter[str] = Counter()
    owned = set()
    submissions = stack.ask(_SUBMISSIONS)
    begins: dict[str, list[datetime]] = defaultdict(list)
    for *_, prompt, begun, _until in submissions:
        begins[prompt].append(begun)
    for job, number, state, upstream_id, cost_state, price, prompt, begun, until in submissions:
        name = f"{job}/{number} {state}"
        if state in UNDECIDED:
            books.unknown_open.append(name)
        books.suspected |= state in {"given_up", "lost"}
        books.settled += price if cost_state == "settled" else 0
        if upstream_id is None:
            continue
        owned.add(upstream_id)
        paid[str(job)] += 1
        entry = entries.get(upstream_id)
        if entry is None:
            books.swapped.append(f"{name}: {upstream_id} was never paid for")
            continue
        made = datetime.fromtimestamp(entry["created_at"], UTC)
        # The protocol gives no closer proof of whose a video is than what was asked for, and when: within the
        # lease, or later where nobody else had asked for the same by then.
        latest = max(until, min((each for each in begins[prompt] if each > begun), default=made))
        if entry["prompt"] != prompt or not begun - _SKEW <= made <= latest + _SKEW:
            books.swapped.append(f"{name}: {upstream_id} of {made} for {entry['prompt']!r}")
    books.orphans += sorted(entries.keys() - owned)
    prompts = {str(job): prompt for job, prompt in stack.ask(_PROMPTS)}
    unowned = [entries[each]["prompt"] for each in books.orphans]
    books.paid_twice += paid_twice(prompts, paid, unowned, retries)
    books.billed += sum(
        (Decimal(entry["price"]) for entry in entries.values() if entry["billed"]), Decimal(0)
    )


def paid_twice(
    prompts: Mapping[str, str], owned: Mapping[str, int], unowned: Iterable[str], retries: Mapping[str, int]
) -> list[str]:
    """The jobs, of these prompts, with more paid creates than were asked for.

    So many creates are owned by each job's submissions. One of this prompt that nobody owns is the job's that
    asked for just that; of several that did, the one's that has the fewest.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for job, prompt in prompts.items():
        alike[prompt].append(job)
    paid = Counter(owned)
    for prompt in unowned:
        # What no job asked for is an orphan only.
        if jobs := alike[prompt]:
            paid[min(jobs, key=lambda job: paid[job] - retries.get(job, 0))] += 1
    return [f"{job}: {n}" for job, n in paid.items() if n > 1 + retries.get(job, 0)]


def _judge_histories(stack: Stack, books: Books) -> None:
    last: dict[tuple[uuid.UUID, int | None], str] = defaultdict(str)
    since: dict[tuple[uuid.UUID, int | None], datetime] = {}
    for job, subject, number, before, after, at in stack.ask(_EVENTS):
        table: Any = JOB_ENTERED_FROM if subject == "job" else SUBMISSION_ENTERED_FROM
        which = (job, number)
        if before != last[which] or (before and before not in table[after]):
            books.against_the_tables.append(f"{job}/{number}: {before} -> {after} after {last[which]}")
        last[which] = after
        if before == "unknown":
            books.unknown_seconds.append((at - since[which]).total_seconds())
        since[which] = at
    moments = sorted(event[-1] for event in stack.ask(_EVENTS) if event[1] == "submission")
    pauses = (after - before for before, after in itertools.pairwise(moments))
    books.longest_pause = max(pauses, default=timedelta()).total_seconds()
    stored = stack.ask("SELECT job_id, number, state FROM videos_submission")
    told = itertools.chain(
        ((job, number, state) for job, number, state in stored),
        ((job, None, status) for job, status, _ in stack.ask(_JOBS)),
    )
    books.against_the_tables += [
        f"{job}/{number} is {state}, its history ends with {last[job, number]}"
        for job, number, state in told
        if last[job, number] != state
    ]
