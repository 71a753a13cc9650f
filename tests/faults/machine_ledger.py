"""The state machine's upstream, which knows who made each of its videos, and what must hold by its word."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from accounts.budgets.counting import begins, count_some
from accounts.models import Reservation, Spending, User
from tests.videos.scripted import ScriptedClient
from upstreams.client import errors
from upstreams.client.dialects import OPENAI, Dialect
from upstreams.client.files.downloads import Content
from upstreams.client.types import CreateRequest, Phase, Video, VideoPage
from upstreams.clock import database_now
from upstreams.offer.catalogue import SORA
from videos.models import Job, JobEvent, Submission
from videos.states import JOB_ENTERED_FROM, SUBMISSION_ENTERED_FROM
from videos.usage.report import GROUPS, usage


@dataclass(frozen=True, slots=True)
class Terms:
    """What an upstream offers and bills, and after how long the last video shows on its list."""

    dialect: Dialect
    bills_failed: bool = False
    # Shorter than the reconciling window, where the list proves absence.
    lag: float = 12


TERMS: Final[Mapping[str, Terms]] = {
    "openai": Terms(OPENAI),
    "cancels": Terms(replace(OPENAI, cancels=True), bills_failed=True),
    "proves no absence": Terms(replace(OPENAI, proves_absence=False), lag=900),
    "has no list": Terms(replace(OPENAI, lists=False, proves_absence=False, cancels=True)),
}


class Ledger(ScriptedClient):
    """The scripted upstream on the database's clock.

    `judge` is called for each paid create, and `sender` is who sends the next one. Its video is as `next_is`
    says: "late" on the list, or "odd", which is not quite what was asked for. What is in `beside` happens
    once: "POST" before a create has arrived, the others after the call of that name has done its work; it is
    told the job that the call is about.

    A "reused" create gets the id of a video that has ended, which the upstream then forgets. Videos are
    told apart by keys: the id for the present one, and the id with `~` and a number for those before.
    """

    def __init__(self, terms: Terms, judge: Callable[[Submission, CreateRequest], None]) -> None:
        super().__init__()
        self.terms = terms
        self.judge = judge
        self.sender: Submission | None = None
        self.next_is = ""
        self.beside: dict[str, Callable[[UUID | None], None]] = {}
        self.makers: dict[str, Submission] = {}
        # What is not there any more, as it was last.
        self.gone: dict[str, Video] = {}
        self.missed: set[str] = set()
        self.forgotten: set[str] = set()
        self.late: set[str] = set()
        self.odd: set[str] = set()
        # What becomes of each page on its way.
        self.jumble: Callable[[VideoPage], VideoPage] = lambda page: page

    def create(self, request: CreateRequest, *, deadline: float | None = None) -> Video:
        # Taken at once: others send while this one is on its way.
        sender, how, self.sender, self.next_is = self.sender, self.next_is, None, ""
        assert sender is not None
        self._happens("POST", sender)
        self.judge(sender, request)
        if how == "odd":
            request = replace(request, prompt=f"{request.prompt}, more or less")
        again = self._reusable() if how == "reused" else None
        video = self.add(request, created_at=database_now())
        if again is not None:
            video = self._give_again(video, again)
        if how in {"late", "odd"}:
            (self.late if how == "late" else self.odd).add(video.id)
        self.makers[video.id] = sender
        self._happens("create", sender)
        return video

    def _reusable(self) -> str | None:
        """The id of a video that has ended, that nobody will follow, and that is not of this second."""
        ended = Submission.objects.filter(
            state__in=["stored", "failed", "dropped"], upstream_id__in=self.videos
        )
        old = (database_now() - timedelta(seconds=2)).replace(microsecond=0)
        for each in ended.order_by("pk"):
            key = str(each.upstream_id)
            if (
                self.makers[key].pk == each.pk
                and not has_file(each)
                and self._made_at(key) < old
                and key not in self.odd | self.late
            ):
                return key
        return None

    def _give_again(self, video: Video, video_id: str) -> Video:
        before = f"{video_id}~{len(self.makers)}"
        self.gone[before] = self.videos.pop(video_id)
        self.makers[before] = self.makers.pop(video_id)
        for marked in (self.missed, self.forgotten):
            if video_id in marked:
                marked.remove(video_id)
                marked.add(before)
        if video_id in self.deleted:
            self.deleted.remove(video_id)
            self.deleted.append(before)
        del self.videos[video.id]
        self.videos[video_id] = replace(video, id=video_id)
        return self.videos[video_id]

    def key_of(self, submission: Submission) -> str:
        """The key of the video that a submission with an id has: its own one if it is among them."""
        video_id = str(submission.upstream_id)
        keys = [key for key in self.makers if key.partition("~")[0] == video_id]
        return next((key for key in keys if self.makers[key].pk == submission.pk), video_id)

    def owned(self) -> set[str]:
        """The keys of the videos that we know."""
        known = Submission.objects.exclude(upstream_id=None)
        return {self.key_of(each) for each in known}

    def retrieve(self, video_id: str, *, deadline: float | None = None) -> Video:
        video = super().retrieve(video_id, deadline=deadline)
        self._happens("retrieve", self.makers.get(video_id))
        return video

    def list(self, after: str | None = None, limit: int = 100, order: str = "desc") -> VideoPage:
        shown_until = database_now() - timedelta(seconds=self.terms.lag)
        self.hidden = {each for each in self.late & self.videos.keys() if self._made_at(each) > shown_until}
        page = self.jumble(super().list(after, limit, order))
        self._happens("list", None)
        return page

    def delete(self, video_id: str) -> None:
        video = self.videos.get(video_id)
        super().delete(video_id)
        assert video is not None
        self.gone[video_id] = video
        self._happens("delete", self.makers[video_id])

    @contextmanager
    def download(
        self, video_id: str, variant: str = "video", *, deadline: float | None = None
    ) -> Iterator[Content]:
        video = self.videos.get(video_id)
        if video and video.expires_at and video.expires_at <= database_now():
            raise errors.NotFound("Downloads expire after 1 hours.")
        with super().download(video_id, variant, deadline=deadline) as content:
            yield content
        self._happens("download", self.makers[video_id])

    @contextmanager
    def missing(self, video_id: str) -> Iterator[None]:
        """The upstream does not know a video; the second time it is forgotten."""
        self.gone[video_id] = self.videos.pop(video_id)
        yield
        if video_id in self.missed:
            self.forgotten.add(video_id)
        else:
            self.missed.add(video_id)
            self.videos[video_id] = self.gone.pop(video_id)

    def forget(self, video_id: str) -> None:
        """The upstream renders a video, bills it, and then knows it no more."""
        self.complete(video_id)
        self.gone[video_id] = self.videos.pop(video_id)
        self.forgotten.add(video_id)

    @contextmanager
    def another_account(self) -> Iterator[None]:
        """Another account answers, which has no videos."""
        own, self.videos = self.videos, {}
        try:
            yield
        finally:
            assert not self.videos, "a create was sent there"
            self.videos = own

    def be_away(self, error: errors.SoraError | None) -> None:
        """All calls but creates fail with this, until it is None."""
        self.list_error = self.retrieve_error = self.delete_error = error
        self.content = error or b""

    def completed(self) -> set[str]:
        """The videos that are there and called completed."""
        return {video.id for video in self.videos.values() if video.phase == Phase.COMPLETED}

    def running(self, job_id: UUID | None = None) -> Sequence[str]:
        """The videos that are rendered now, of all jobs or of one."""
        return [
            video.id
            for video in self.videos.values()
            if video.phase == Phase.RUNNING and job_id in {None, self.makers[video.id].job_id}
        ]

    def last(self, video_id: str) -> Video:
        """A video as it is, or was when it was last there."""
        return self.videos.get(video_id) or self.gone[video_id]

    def bill(self, video_id: str) -> Decimal:
        """What was charged: all for what was completed, or was stopped by a DELETE."""
        video = self.last(video_id)
        match video.phase:
            case Phase.RUNNING:
                charged = video_id in self.deleted
            case Phase.COMPLETED | Phase.EXPIRED:
                charged = True
            case _:
                charged = self.terms.bills_failed
        price = SORA.cost_of_sent(str(video.model), str(video.size), str(video.seconds))
        assert price is not None
        return price if charged else Decimal(0)

    def _made_at(self, video_id: str) -> datetime:
        made_at = self.videos[video_id].created_at
        assert made_at is not None
        return made_at

    def _happens(self, call: str, about: Submission | None) -> None:
        if beside := self.beside.pop(call, None):
            beside(about.job_id if about else None)


def has_file(submission: Submission) -> bool:
    """Whether it finished after its job was cancelled, and its file may still be upstream for a retry."""
    if submission.state != "dropped" or submission.id_reused or submission.rendered_at is None:
        return False
    return submission.expires_at is None or submission.expires_at > database_now()


def books_agree(sora: Ledger, mistaken: Collection[int]) -> None:
    """Each submission settled what its video was billed, to the cent.

    More only where it was given up at some time, where the upstream forgot the video, or where it was dropped
    while it rendered and had failed by then; less only where an operator was mistaken, and no answer came.
    """
    given_up = _submissions_that_went(to_state="given_up")
    dropped = _submissions_that_went(from_state="rendering", to_state="dropping")
    made = {maker.pk: video_id for video_id, maker in sora.makers.items()}
    for each in Submission.objects.all():
        whose, video_id = (each.job_id, each.number), made.get(each.pk, "")
        billed = sora.bill(video_id) if video_id else Decimal(0)
        settled = Decimal(each.price or 0) if each.cost_state == "settled" else Decimal(0)
        if each.pk in mistaken and each.upstream_id is None:
            assert settled <= billed, f"{each} settled {settled} of {billed}"
            continue
        assert settled >= billed, f"{each} settled {settled} of {billed}"
        untold = whose in dropped and sora.last(video_id).phase in {Phase.FAILED, Phase.CANCELLED}
        if whose not in given_up and video_id not in sora.forgotten and not untold:
            assert settled == billed, f"{each} settled {settled} of {billed}"


def budgets_agree() -> None:
    """At rest nothing is set aside, what counts as spent is what was settled, and so says each counter."""
    while count_some():
        pass
    settled = sum(Decimal(each.price or 0) for each in Submission.objects.filter(cost_state="settled"))
    assert sum(each.settled for each in Reservation.objects.all()) == settled
    assert not Reservation.objects.filter(state="held").exists()
    for counter in Spending.objects.all():
        own = Reservation.objects.filter(owner=counter.owner)
        own = own.filter(api_key=counter.api_key) if counter.api_key else own
        counted = [each.settled for each in own if begins(counter.period, each.made_on) == counter.starts_on]
        assert (counter.reserved, counter.settled) == (0, 10_000 * sum(counted)), f"{counter}"


def usage_agrees(owner: User) -> None:
    """The usage of an owner is what its jobs and their attempts say, whatever of it is counted already."""
    today = timezone.now().astimezone(UTC).date()
    shown = {
        (row["day"], row["key"] and row["key"]["id"], row["status"]): (
            row["jobs"],
            Decimal(row["settled"]),
            Decimal(row["reserved"]),
        )
        for row in usage(owner, today - timedelta(days=300), today + timedelta(days=300), GROUPS)
    }
    sums: dict[tuple[str, str | None, str], list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0)])

    def its(job: Job, key: int | None) -> list[Any]:
        return sums[str(job.created_at.astimezone(UTC).date()), key and str(key), job.status]

    for job in Job.objects.filter(owner=owner).select_related("reservation"):
        its(job, job.api_key_id)[0] += 1
        if job.reservation is not None:
            its(job, job.reservation.api_key_id)[2] += job.reservation.amount
        for attempt in job.submissions.select_related("reservation"):
            reserved = attempt.reservation
            key = reserved.api_key_id if reserved is not None else job.api_key_id
            if attempt.cost_state in {"settled", "reserved"}:
                its(job, key)[1 if attempt.cost_state == "settled" else 2] += attempt.price or 0
    assert shown == {group: tuple(row) for group, row in sums.items() if any(row)}


def _submissions_that_went(**how: str) -> set[tuple[UUID, int | None]]:
    return set(JobEvent.objects.filter(**how).values_list("job_id", "submission_number"))


def orphans(sora: Ledger, mistaken: Collection[int]) -> set[str]:
    """The videos that the upstream still has and nobody owns: given up before their ids were known, or called
    absent by mistake."""
    found = set(sora.makers) - sora.owned() - sora.forgotten
    for video_id in found:
        maker = Submission.objects.get(pk=sora.makers[video_id].pk)
        lost = maker.state == "given_up" or (maker.state == "absent" and maker.pk in mistaken)
        assert lost, f"{maker} has lost {video_id}"
    return found


def losses_are_real(sora: Ledger) -> None:
    """What we call lost is forgotten, or its file has expired."""
    for each in Submission.objects.filter(state="lost"):
        video_id = sora.key_of(each)
        expires_at = sora.last(video_id).expires_at
        expired = sora.last(video_id).phase == Phase.EXPIRED or (expires_at and expires_at <= database_now())
        assert expired or video_id in sora.forgotten, f"{each} is there: {video_id}"


def videos_are_where_they_belong(sora: Ledger, requests: Mapping[UUID, str]) -> None:
    """A completed job has the one video that was made for it, and its file."""
    for job in Job.objects.filter(status="completed"):
        kept = job.submissions.get(state="stored")
        assert sora.makers[sora.key_of(kept)].pk == kept.pk
        assert kept.request["prompt"] == requests[job.pk]
        assert job.video.storage.exists(str(job.video.name))


def histories_follow_the_tables() -> None:
    """From the first line to the present state, without a gap."""
    lines: dict[tuple[UUID, int | None], list[JobEvent]] = {}
    for event in JobEvent.objects.order_by("job", "number"):
        lines.setdefault((event.job_id, event.submission_number), []).append(event)
    present: dict[tuple[UUID, int | None], str] = {
        (job_id, number): state
        for job_id, number, state in Submission.objects.values_list("job", "number", "state")
    }
    present |= {(pk, None): status for pk, status in Job.objects.values_list("pk", "status")}
    assert lines.keys() == present.keys()
    for whose, events in lines.items():
        table: Any = JOB_ENTERED_FROM if whose[1] is None else SUBMISSION_ENTERED_FROM
        first, last = ("pending" if whose[1] is None else "sending"), events[-1]
        assert (events[0].from_state, events[0].to_state) == ("", first)
        assert last.to_state == present[whose], (last, present[whose])
        for one, following in itertools.pairwise(events):
            assert following.from_state == one.to_state, (one, following)
            # An operator gave it its id; it moves once the upstream says what became of it.
            named = following.to_state == one.to_state == "given_up" and following.detail["by"] == "operator"
            assert named or following.from_state in table[following.to_state], following
