"""A completed job, and what is made from its video."""

from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from tests.from_source.making import Make, complete
from tests.videos.test_reconcile import WINDOW
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.from_source import create_from
from videos.models import Job


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = WINDOW


@pytest.fixture
def source(make_job: Make, upstream: Upstream) -> Job:
    """A completed job of 8 seconds in 720p, upright."""
    return complete(make_job("a paper boat", duration=8, aspect_ratio="9:16"), upstream)


@pytest.fixture
def make(owner: User, source: Job) -> Make:
    """Makes a job from the source, or `of` another one."""

    def make_from(operation: str, of: Job = source, **asked: Any) -> Job:
        request = VideoRequest(**{"prompt": "the same boat by night", **asked})
        return create_from(of, operation, request, owner=owner, api_key=None)

    return make_from
