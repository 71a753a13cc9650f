"""Retries over all calls of one client: few while the upstream is down, as many as before once it is well."""

import contextlib
import sys
import threading

import pytest

from tests.sora.conftest import REQUEST
from tests.sora.upstream import VIDEO, reply
from upstreams.client.errors import NotFound, SoraError
from upstreams.client.retry_budget import MAX_TOKENS, TOKENS_PER_SUCCESS, RetryBudget

PAGE = {"data": [VIDEO], "has_more": False}
CALLS = {
    "retrieve": (lambda client: client.retrieve("video_1"), VIDEO),
    "list": (lambda client: client.list(), PAGE),
    "delete": (lambda client: client.delete("video_1"), {"deleted": True}),
}
# Enough of each to fill or to empty the budget, whatever it held.
FAILURES = int(MAX_TOKENS)
SUCCESSES = int(MAX_TOKENS / TOKENS_PER_SUCCESS)


class Sick:
    """A server whose answer can be changed, and a client of it that would try three times."""

    def __init__(self, serve, make_client) -> None:
        self.answer = reply(503)
        self.server = serve(lambda server, connection: self.answer(server, connection))
        self.client = make_client(self.server.url, retries=2, deadline=10_000)

    def asked(self, call=CALLS["retrieve"][0]) -> int:
        """How many requests one call makes."""
        before = len(self.server.requests)
        with contextlib.suppress(SoraError):
            call(self.client)
        return len(self.server.requests) - before

    def exhaust(self) -> None:
        self.answer = reply(503)
        for _ in range(FAILURES):
            self.asked()


@pytest.fixture
def sick(serve, make_client) -> Sick:
    return Sick(serve, make_client)


def download(client) -> None:
    with client.download("video_1"):
        pass


def test_an_upstream_that_stays_down_gets_one_request_per_call(sick):
    asked = [sick.asked() for _ in range(FAILURES)]
    assert asked[0] == 3
    assert asked == sorted(asked, reverse=True)
    assert sum(asked) - len(asked) <= MAX_TOKENS / 2
    for call in (*(call for call, _ in CALLS.values()), download):
        assert sick.asked(call) == 1, "all calls share it"


@pytest.mark.parametrize("status", [408, 429, 500])
def test_all_that_is_repeated_counts(sick, status):
    sick.answer = reply(status)
    for _ in range(FAILURES):
        sick.asked()
    assert sick.asked() == 1


@pytest.mark.parametrize("name", CALLS)
def test_successes_fill_it_again(sick, name):
    call, answer = CALLS[name]
    sick.exhaust()
    sick.answer = reply(200, answer)
    # The first try is always made. So many fill the half from which on nothing is repeated yet.
    assert [sick.asked(call) for _ in range(SUCCESSES // 2)] == [1] * (SUCCESSES // 2)
    sick.answer = reply(503)
    assert sick.asked(call) == 1
    sick.answer = reply(200, answer)
    for _ in range(SUCCESSES // 2):
        sick.asked(call)
    sick.answer = reply(503)
    assert sick.asked(call) == 3


def test_it_holds_no_more_than_it_began_with(sick):
    sick.answer = reply()
    for _ in range(SUCCESSES):
        sick.asked()
    sick.answer = reply(503)
    asked = [sick.asked() for _ in range(FAILURES)]
    assert sum(asked) - len(asked) <= MAX_TOKENS / 2


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_neither_spends_nor_fills_it(sick, status):
    sick.answer = reply(status)
    for _ in range(FAILURES):
        assert sick.asked() == 1
    sick.answer = reply(503)
    assert sick.asked() == 3
    sick.exhaust()
    sick.answer = reply(status)
    for _ in range(SUCCESSES):
        sick.asked()
    sick.answer = reply(503)
    assert sick.asked() == 1


def test_what_is_not_found_is_still_said(sick):
    sick.exhaust()
    sick.answer = reply(404)
    with pytest.raises(NotFound):
        sick.client.retrieve("video_1")


def test_creates_neither_spend_nor_fill_it_and_are_not_repeated(sick):
    for _ in range(FAILURES):
        assert sick.asked(lambda client: client.create(REQUEST)) == 1
    assert sick.asked() == 3
    sick.exhaust()
    sick.answer = reply()
    for _ in range(SUCCESSES):
        assert sick.asked(lambda client: client.create(REQUEST)) == 1
    sick.answer = reply(503)
    assert sick.asked() == 1


def test_clients_share_none(sick, serve, make_client):
    sick.exhaust()
    assert Sick(serve, make_client).asked() == 3


@pytest.fixture
def _restless_threads():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless_threads")
@pytest.mark.parametrize("_", range(5))
def test_no_token_is_lost_between_threads(_):
    budget = RetryBudget()
    for _ in range(FAILURES // 2):
        budget.spend()
    barrier = threading.Barrier(4)

    def give_back_what_is_taken() -> None:
        barrier.wait()
        for _ in range(3_000):
            budget.spend()
            for _ in range(int(1 / TOKENS_PER_SUCCESS)):
                budget.refill()

    threads = [threading.Thread(target=give_back_what_is_taken) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Just half of them, to which one success makes the difference.
    assert not budget.allows_retry()
    budget.refill()
    assert budget.allows_retry()
