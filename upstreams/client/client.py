"""The client: one method per call of the protocol, each within a wall-clock deadline."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests
import tenacity

from upstreams.client import answers
from upstreams.client.dialects import Dialect
from upstreams.client.errors import Busy, NotPaged, NotSent, OutcomeUnknown, Unavailable
from upstreams.client.exchange import Answer, BearerAuth, Session, Timeouts, checked_url, read, send
from upstreams.client.files.downloads import Content, open_content
from upstreams.client.files.redirects import ContentHosts
from upstreams.client.redaction import Redactor
from upstreams.client.retry_budget import RetryBudget
from upstreams.client.transport import Watch
from upstreams.client.types import CreateRequest, Unreadable, Video, VideoPage
from upstreams.client.values import usable_id

MAX_VIDEO_BODY_BYTES = 1024 * 1024
# A hundred videos with prompts of 2,000 characters that JSON writes in twelve bytes each are 2.4 MB.
MAX_PAGE_BODY_BYTES = 4 * 1024 * 1024
# No call sleeps longer than this: its caller can try again later.
MAX_RETRY_AFTER_SECONDS = 30.0

_T = TypeVar("_T")


class SoraClient:
    """Talks to one upstream. Safe to share between threads, not across a fork.

    `base_url` includes the version (`https://host/v1`). All times are in seconds. `timeout` bounds the
    silence between two packets, `deadline` a whole call with its retries and waits; it defaults to
    `connect_timeout` plus `timeout`. `retries` and `retry_delay` (the first full-jitter window) are for reads
    and deletes only, which share one RetryBudget. A download may be redirected to `content_hosts`. Raises
    ValueError for unusable arguments.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        dialect: Dialect,
        timeout: float,
        connect_timeout: float = 5.0,
        retries: int,
        retry_delay: float,
        deadline: float | None = None,
        content_hosts: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.dialect = dialect
        self.base_url = checked_url(base_url)
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            # Here, because requests would quote the key in its own complaint.
            raise ValueError("the API key must be printable ASCII without spaces")
        self._api_key = api_key
        self._auth = BearerAuth(api_key)
        self._timeouts = Timeouts(connect_timeout, timeout)
        self._retries = retries
        self._jitter = tenacity.wait_random_exponential(multiplier=retry_delay, max=MAX_RETRY_AFTER_SECONDS)
        self._deadline = connect_timeout + timeout if deadline is None else deadline
        self._clock = clock
        self._sleep = sleep
        self._content_hosts = ContentHosts(content_hosts)
        self._budget = RetryBudget()
        self._session = Session()

    def close(self) -> None:
        """Close the kept-alive connections."""
        self._session.close()

    def create(self, request: CreateRequest, *, deadline: float | None = None) -> Video:
        """Ask for a video with exactly one POST: no retry, no redirect.

        Raises NotSent, Busy, Misconfigured, Rejected or NotFound if no render was begun, and OutcomeUnknown
        if that is not proven.
        """
        redactor = Redactor(self._api_key, (request.prompt, request.negative_prompt, request.callback_url))
        # A session of its own: a kept-alive connection may die under the POST, and then nothing is proven.
        with Session() as session:
            session.headers["Connection"] = "close"
            answer = self._ask(
                session,
                self._request("POST", self.dialect.path_of(request), **self.dialect.content_of(request)),
                seconds=self._deadline if deadline is None else deadline,
                cap=MAX_VIDEO_BODY_BYTES,
                redactor=redactor,
            )
        return answers.created(answer, redactor)

    def retrieve(self, video_id: str, *, deadline: float | None = None) -> Video:
        """The present video. Raises NotFound, Rejected, Misconfigured, Busy or Unavailable, as all reads."""
        meaning = partial(answers.retrieved, video_id=video_id)
        return self._repeat(self._request("GET", _path(video_id)), meaning, deadline=deadline)

    def list(
        self,
        after: str | None = None,
        limit: int = 100,
        order: Literal["asc", "desc"] = "desc",
        *,
        deadline: float | None = None,
    ) -> VideoPage:
        """One page of the list, by creation; `after` is the last page's `next_after`. May raise NotPaged."""
        params = {"limit": str(limit), "order": order} | ({} if after is None else {"after": after})
        page = self._repeat(
            self._request("GET", "/videos", params=params),
            answers.listed,
            cap=MAX_PAGE_BODY_BYTES,
            deadline=deadline,
        )
        if after is not None and page.next_after == after:
            # A server that ignores `after` would send the same page for ever. It must not pass for the end.
            raise NotPaged("the list does not move on")
        return page

    def delete(self, video_id: str) -> None:
        """Delete the video. If the dialect says so, this also stops its render.

        NotFound may mean that an earlier try of the same call did it."""
        self._repeat(self._request("DELETE", _path(video_id)), answers.require_success)

    def probe(self, *, deadline: float | None = None) -> None:
        """Find out whether the upstream answers us and takes our key: by its list, or as the dialect says."""
        if not self.dialect.probe:
            self.list(limit=1, deadline=deadline)
            return
        request = self._request("GET", self.dialect.probe)
        self._repeat(request, answers.require_success, cap=MAX_PAGE_BODY_BYTES, deadline=deadline)

    def models(self) -> object:
        """What it lists as its models, as decoded JSON. Raises like a read. Not every dialect has this."""
        request = self._request("GET", self.dialect.models)
        return self._repeat(request, answers.decoded_success, cap=MAX_PAGE_BODY_BYTES)

    @contextlib.contextmanager
    def download(
        self, video_id: str, variant: str = "video", *, deadline: float | None = None
    ) -> Iterator[Content]:
        """The file of a completed video, to be read inside the `with`.

        `deadline` bounds opening and reading together. Raises like a read. If the content is JSON or HTML, or
        does not have the announced length, raises Unavailable.
        """
        query = dict(self.dialect.contents[variant])
        request = self._request("GET", f"{_path(video_id)}/content", params=query)
        request.headers["Accept"] = "*/*"
        with contextlib.ExitStack() as stack:
            yield self._patiently(
                lambda left: open_content(
                    self._session,
                    request,
                    seconds=left,
                    timeouts=self._timeouts,
                    redactor=Redactor(self._api_key),
                    hosts=self._content_hosts,
                    stack=stack,
                ),
                seconds=self._deadline if deadline is None else deadline,
            )

    def _request(self, method: str, path: str, **content: Any) -> requests.Request:
        return requests.Request(
            method,
            f"{self.base_url}{path}",
            auth=self._auth,
            headers={"Accept": "application/json", "Cache-Control": "no-cache"},
            **content,
        )

    def _ask(
        self, session: Session, request: requests.Request, *, seconds: float, cap: int, redactor: Redactor
    ) -> Answer:
        with (
            Watch(seconds) as watch,
            send(session, request, watch=watch, timeouts=self._timeouts, redactor=redactor) as response,
        ):
            return read(response, cap=cap, redactor=redactor)

    def _repeat(
        self,
        request: requests.Request,
        meaning: Callable[[Answer, Redactor], _T],
        *,
        cap: int = MAX_VIDEO_BODY_BYTES,
        deadline: float | None = None,
    ) -> _T:
        """Ask until there is a usable answer or a refusal, or no time or try is left."""
        redactor = Redactor(self._api_key)

        def attempt(left: float) -> _T:
            try:
                answer = self._ask(self._session, request, seconds=left, cap=cap, redactor=redactor)
                return meaning(answer, redactor)
            except (NotSent, OutcomeUnknown, Unreadable) as error:
                raise Unavailable(str(error)) from error

        return self._patiently(attempt, seconds=self._deadline if deadline is None else deadline)

    def _patiently(self, attempt: Callable[[float], _T], *, seconds: float) -> _T:
        """Repeat a call that is Busy or Unavailable, with full jitter or as the upstream asks, within
        `seconds` and while the budget allows it."""
        ends = self._clock() + seconds

        def counted() -> _T:
            try:
                result = attempt(ends - self._clock())
            except (Busy, Unavailable):
                self._budget.spend()
                raise
            # A refusal does neither: it says that the upstream is there, not that it does its work.
            self._budget.refill()
            return result

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            named = getattr(error, "retry_after", None)
            return self._jitter(state) if named is None else float(named)

        def stop(state: tenacity.RetryCallState) -> bool:
            return (
                state.attempt_number > self._retries
                or state.upcoming_sleep > MAX_RETRY_AFTER_SECONDS
                or self._clock() + state.upcoming_sleep >= ends
                or not self._budget.allows_retry()
            )

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((Busy, Unavailable)),
            wait=wait,
            stop=stop,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(counted)


def _path(video_id: str) -> str:
    if usable_id(video_id) is None:
        raise ValueError("not a video id")
    return f"/videos/{quote(video_id, safe='')}"
