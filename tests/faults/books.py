"""What a deployment's rows say against what its upstream was paid for."""

import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import requests

from tests.faults.stack import Stack
from videos.states import JOB_ENTERED_FROM, JOB_OPEN, LIVE, SUBMISSION_ENTERED_FROM, UNDECIDED

MAX_PAUSE_SECONDS: Final = 10.0
_SKEW = timedelta(seconds=3)
# Between the numbers of two upstreams.
_APART: Final = 1_000_000
_JOBS = "SELECT id, status, video FROM videos_job"
_PROMPTS = "SELECT id, fitted->>'prompt', created_at FROM videos_job ORDER BY id"
_SUBMISSIONS = (
    "SELECT job_id, number, state, upstream_id, cost_state, price, request->>'prompt',"
    " created_at, lease_until FROM videos_submission ORDER BY created_at"
)
_RECOVERED = "SELECT job_id, submission_number FROM videos_jobevent WHERE detail->>'how' = 'recovered'"
_FOREIGN = "SELECT upstream_id FROM upstreams_foreignvideo"
_EVENTS = (
    "SELECT job_id, subject, submission_number, from_state, to_state, created_at"
    " FROM videos_jobevent ORDER BY job_id, number"
)
_BATCHES_OPEN = (
    "SELECT group_id FROM batches_batch WHERE completed_at IS NULL OR round <> ("
    "SELECT count(*) FROM batches_batchevent WHERE batch_id = group_id AND kind = 'completed')"
)


Entry = dict[str, Any]
Period = tuple[datetime, datetime]


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
    # What `manage.py check_results` says of files and jobs.
    files: list[str] = field(default_factory=list)
    # Batches of which an end was not recorded, or not once a round.
    batches_open: list[str] = field(default_factory=list)
    # Submissions that settled something else than their video was billed.
    mispriced: list[str] = field(default_factory=list)
    settled: Decimal = Decimal(0)
    billed: Decimal = Decimal(0)
    # Dollars that were settled on suspicion: of what was given up or lost, nobody knows what it cost.
    suspected: Decimal = Decimal(0)
    # Seconds for which each create of unknown outcome stayed unknown.
    unknown_seconds: list[float] = field(default_factory=list)
    # Paid creates that an operator declared to be of jobs which a restored backup does not know.
    declared_foreign: int = 0
    # Seconds between two moves of any submission, at most, while callers asked.
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
                "files",
                "batches_open",
                "mispriced",
            )
            if (value := getattr(self, name))
        }
        if self.longest_pause > MAX_PAUSE_SECONDS:
            found["stood_still"] = f"{self.longest_pause:.1f} s"
        if self.settled - self.suspected != self.billed:
            found["money"] = f"settled {self.settled}, {self.suspected} on suspicion, billed {self.billed}"
        return found


def is_quiet(stack: Stack) -> bool:
    """Whether nothing is under way any more."""
    jobs = stack.ask("SELECT count(*) FROM videos_job WHERE status = ANY(%s)", sorted(JOB_OPEN))
    live = stack.ask("SELECT count(*) FROM videos_submission WHERE state = ANY(%s)", sorted(LIVE))
    batches = stack.ask("SELECT count(*) FROM batches_batch WHERE completed_at IS NULL")
    return jobs == live == batches == [(0,)]


def ledger(stack: Stack) -> list[Entry]:
    """Every paid create of all upstreams. Each counts for itself; here no two have the same number."""
    return [
        entry | {"number": entry["number"] + place * _APART}
        for place, control in enumerate(stack.controls)
        for entry in ledger_of(control)
    ]


def ledger_of(control: str) -> list[Entry]:
    """Every paid create of the upstream with this control address, by its own count."""
    entries: list[Entry] = []
    while True:
        after = entries[-1]["number"] if entries else 0
        answer = requests.get(f"{control}/ledger", params={"after": after, "limit": 1000}, timeout=30).json()
        if not answer["data"]:
            return entries
        entries += answer["data"]


def judge(
    stack: Stack,
    accepted: Collection[str],
    retries: Mapping[str, int] | None = None,
    *,
    forgotten: Mapping[str, str] | None = None,
    named: Mapping[tuple[str, int], int] | None = None,
    asked: Period | None = None,
    outages: Sequence[Period] = (),
) -> Books:
    """Compares rows and ledger.

    `accepted`: the jobs that callers were promised; `retries`: how often each was asked for again.
    `forgotten`: the jobs, with their prompts, that a restored backup does not know.
    `named`: by job and number, the paid creates that a person found for submissions without an id.
    `asked`: when callers asked; `outages`: when all work stood still and nobody could work round it.
    """
    books = Books()
    _judge_jobs(stack, accepted, books)
    _judge_submissions(stack, ledger(stack), retries or {}, forgotten or {}, named or {}, books)
    _judge_histories(stack, books)
    if asked is not None:
        books.longest_pause = longest_pause(_moves(stack), asked, outages)
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


def unowned(stack: Stack, entries: Iterable[Entry], named: Mapping[tuple[str, int], int]) -> list[Entry]:
    """The paid creates that are no submission's; `named` as for `judge`."""
    recovered = set(stack.ask(_RECOVERED))
    return match(stack.ask(_SUBMISSIONS), entries, named, recovered)[1]


def match(
    submissions: Iterable[tuple[Any, ...]],
    entries: Iterable[Entry],
    named: Mapping[tuple[str, int], int] | None = None,
    recovered: Collection[tuple[Any, ...]] = (),
) -> tuple[dict[tuple[Any, int], Entry | None], list[Entry]]:
    """The paid create of each submission that has an id, None if it has none; and the creates that are left.

    `named`: the numbers of creates that a person gave to submissions without an id. `recovered`: submissions
    that were made for the videos that a restored backup did not know.

    An upstream may give an id again. Of several creates under one id, a submission's is the one that was made
    while it was sent; the protocol gives no closer proof than what was asked for, and when.
    """
    submissions = list(submissions)
    begins: dict[str, list[datetime]] = defaultdict(list)
    for *_, prompt, begun, _until in submissions:
        begins[prompt].append(begun)
    left: dict[str, list[Entry]] = defaultdict(list)
    by_number: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda each: float(each["created_at"])):
        left[entry["id"]].append(entry)
        by_number[entry["number"]] = entry
    found: dict[tuple[Any, int], Entry | None] = {}
    for job, number, _, upstream_id, _, _, prompt, begun, until in submissions:
        if upstream_id is None:
            its = by_number.get((named or {}).get((str(job), number), -1))
            if its is not None:
                found[job, number] = its
                left[its["id"]].remove(its)
            continue
        # Within the lease, or later if nobody else had asked for the same by then.
        following = min((each for each in begins[prompt] if each > begun), default=None)
        its = next(
            (entry for entry in left[upstream_id] if _is_of(entry, prompt, begun, until, following)), None
        )
        found[job, number] = its
        if its is not None:
            left[upstream_id].remove(its)
    _match_recovered([each for each in submissions if each[:2] in recovered], left, found)
    return found, [entry for alike in left.values() for entry in alike]


def _match_recovered(
    submissions: Iterable[tuple[Any, ...]],
    left: Mapping[str, list[Entry]],
    found: dict[tuple[Any, int], Entry | None],
) -> None:
    """Matches what is left of these where one create and one submission alone have an id and a prompt.

    They are dated by the clock of the upstream, which may have been set.
    """
    alike: dict[tuple[str, str], list[tuple[Any, int]]] = defaultdict(list)
    for job, number, _, upstream_id, _, _, prompt, *_ in submissions:
        if upstream_id is not None and found[job, number] is None:
            alike[upstream_id, prompt].append((job, number))
    for (upstream_id, prompt), its in alike.items():
        entries = [entry for entry in left[upstream_id] if entry["prompt"] == prompt]
        if len(its) == len(entries) == 1:
            found[its[0]] = entries[0]
            left[upstream_id].remove(entries[0])


def _is_of(entry: Entry, prompt: str, begun: datetime, until: datetime, following: datetime | None) -> bool:
    made = datetime.fromtimestamp(entry["created_at"], UTC)
    latest = max(until, made if following is None else following)
    return entry["prompt"] == prompt and begun - _SKEW <= made <= latest + _SKEW


def _judge_submissions(
    stack: Stack,
    entries: Sequence[Entry],
    retries: Mapping[str, int],
    forgotten: Mapping[str, str],
    named: Mapping[tuple[str, int], int],
    books: Books,
) -> None:
    paid: Counter[str] = Counter()
    submissions = stack.ask(_SUBMISSIONS)
    found, left = match(submissions, entries, named, set(stack.ask(_RECOVERED)))
    for job, number, state, upstream_id, cost_state, price, *_ in submissions:
        name = f"{job}/{number} {state}"
        # What is made from another video has no listed price, and is billed none.
        settled = (price or Decimal(0)) if cost_state == "settled" else Decimal(0)
        if state in UNDECIDED:
            books.unknown_open.append(name)
        books.settled += settled
        its = found.get((job, number))
        cost = Decimal(0) if its is None else billed(its)
        if is_mispriced(state, settled, cost):
            books.mispriced.append(f"{name}: settled {settled} of {cost}")
        else:
            books.suspected += settled - cost
        if its is None:
            if upstream_id is not None:
                paid[str(job)] += 1
                books.swapped.append(f"{name}: {upstream_id} was paid for by nobody, or by another")
            continue
        paid[str(job)] += 1
        if state == "lost" and its["status"] == "completed" and not its["deleted"]:
            books.lost.append(f"{name}: the upstream has {upstream_id}")
    declared = {video_id for (video_id,) in stack.ask(_FOREIGN)}
    foreign = [entry for entry in left if entry["id"] in declared]
    orphans = [entry for entry in left if entry["id"] not in declared]
    books.declared_foreign = len(foreign)
    books.orphans += sorted(entry["id"] for entry in orphans)
    jobs = {str(job): (prompt, made) for job, prompt, made in stack.ask(_PROMPTS)}
    prompts = {job: prompt for job, (prompt, _) in jobs.items()}
    unowned = [entry["prompt"] for entry in (*orphans, *may_be_of_known(foreign, jobs.values()))]
    books.paid_twice += paid_twice(prompts | dict(forgotten), paid, unowned, retries)
    books.billed += sum((billed(entry) for entry in entries if entry not in foreign), Decimal(0))


def billed(entry: Entry) -> Decimal:
    """Dollars that a paid create costs in the end."""
    return Decimal(entry["price"] or 0) if entry["billed"] else Decimal(0)


def is_mispriced(state: str, settled: Decimal, cost: Decimal) -> bool:
    """Whether a submission settled less than its create cost, or more although its end was seen."""
    # What is dropped while it renders is not asked after any more.
    return settled < cost or (settled > cost and state not in {"given_up", "lost", "dropped"})


def may_be_of_known(foreign: Iterable[Entry], jobs: Iterable[tuple[str, datetime]]) -> list[Entry]:
    """Of the creates that were declared foreign, those that a job may have made that is there.

    `jobs`: the prompt of each, and when it was made. A job that is younger than a create has not made it.
    """
    first: dict[str, datetime] = {}
    for prompt, made in jobs:
        first[prompt] = min(made, first.get(prompt, made))
    return [
        entry
        for entry in foreign
        if entry["prompt"] in first
        and datetime.fromtimestamp(entry["created_at"], UTC) >= first[entry["prompt"]]
    ]


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


def longest_pause(moves: Iterable[datetime], asked: Period, outages: Sequence[Period] = ()) -> float:
    """The most seconds within `asked` in which nothing moved; of an outage what is before it, and after."""
    inside = sorted(each for each in moves if asked[0] <= each <= asked[1])
    pauses = itertools.pairwise([asked[0], *inside, asked[1]])
    return max((_without(pause, outages) for pause in pauses), default=0.0)


def _without(pause: Period, outages: Sequence[Period]) -> float:
    """The seconds of a pause that no outage covers, as the longest piece."""
    pieces, begins = [], pause[0]
    for start, end in sorted(outages):
        if end > begins and start < pause[1]:
            pieces.append((start - begins).total_seconds())
            begins = max(begins, end)
    return max([*pieces, (pause[1] - begins).total_seconds()])


def _moves(stack: Stack) -> list[datetime]:
    return [event[-1] for event in stack.ask(_EVENTS) if event[1] == "submission"]


def _judge_histories(stack: Stack, books: Books) -> None:
    last: dict[tuple[uuid.UUID, int | None], str] = defaultdict(str)
    since: dict[tuple[uuid.UUID, int | None], datetime] = {}
    for job, subject, number, before, after, at in stack.ask(_EVENTS):
        table: Any = JOB_ENTERED_FROM if subject == "job" else SUBMISSION_ENTERED_FROM
        which = (job, number)
        # What moves nothing is a note: its file was fetched again, it was fitted to another upstream.
        if before != last[which] or (before not in {"", after} and before not in table[after]):
            books.against_the_tables.append(f"{job}/{number}: {before} -> {after} after {last[which]}")
        last[which] = after
        if before == "unknown":
            books.unknown_seconds.append((at - since[which]).total_seconds())
        since[which] = at
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
