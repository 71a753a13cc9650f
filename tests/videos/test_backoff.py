import pytest
from pytest_django import Settings

from videos.lifecycle.backoff import backoff, poll_interval


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (16, 60), (10_000, 60)]
)
def test_a_wait_is_somewhere_below_twice_the_last_one(
    failures: int, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[tuple[float, float]] = []

    def longest_of(least: float, most: float) -> float:
        spans.append((least, most))
        return most

    monkeypatch.setattr("videos.lifecycle.backoff.random.uniform", longest_of)
    assert backoff(failures) == longest
    assert spans == [(0, longest)]


def test_many_failures_make_a_long_wait_and_not_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videos.lifecycle.backoff.random.uniform", lambda least, most: most)
    assert backoff(16, most=1_000_000) == backoff(17, most=1_000_000) == 65_536


def test_a_wait_is_never_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videos.lifecycle.backoff.random.uniform", lambda least, most: least)
    assert backoff(3) == 0.2


@pytest.mark.parametrize(
    ("age", "seconds"), [(0, 2), (10, 2), (11, 2.2), (25, 5), (149, 29.8), (150, 30), (9_999, 30)]
)
def test_a_render_is_polled_after_a_fifth_of_its_age(age: float, seconds: float, settings: Settings) -> None:
    settings.SORA_SYNC_SECONDS_MIN, settings.SORA_SYNC_SECONDS_MAX = 2, 30
    assert poll_interval(age) == pytest.approx(seconds)
