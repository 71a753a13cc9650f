"""Results in a bucket of a real server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from tests.stores.s3_server import s3_server
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.results import bucket_proof
from videos.results.store import store
from videos.stores import media
from videos.stores.bucket import Bucket


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a store: of TAKEONE_TEST_S3, whose keys are in TAKEONE_TEST_S3_KEYS as `id:secret`, or
    of one of our own."""
    if given := os.environ.get("TAKEONE_TEST_S3", ""):
        yield given
        return
    with s3_server() as address:
        yield address


Add = Callable[[], Bucket]


@pytest.fixture
def add_bucket(server: str, settings: Settings, tmp_path: Path) -> Iterator[Add]:
    """Makes a bucket that results are read from."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.RESULT_BUCKETS = {}

    def add() -> Bucket:
        name = f"results-{uuid4().hex[:12]}"
        options = {
            "bucket_name": name,
            "location": "of/ours",
            "endpoint_url": server,
            "region_name": "us-east-1",
        }
        key, _, secret = os.environ.get("TAKEONE_TEST_S3_KEYS", "an-id:a-secret").partition(":")
        keys = {"access_key": key, "secret_key": secret, "addressing_style": "path"}
        settings.RESULT_BUCKETS = {**settings.RESULT_BUCKETS, name: options | keys}
        made = media.bucket_named(name)
        made.connection.create_bucket(Bucket=name)
        return made

    yield add
    media._bucket.cache_clear()
    bucket_proof._proofs.clear()


@pytest.fixture
def bucket(add_bucket: Add, settings: Settings) -> Bucket:
    """The bucket where new results are kept."""
    made = add_bucket()
    settings.RESULT_BUCKET = made.bucket_name
    return made


@pytest.fixture
def render(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> Callable[..., Submission]:
    """A submission whose video waits to be fetched."""

    def render(**asked: Any) -> Submission:
        job = make_job(**asked)
        submit_next(upstream)
        sora.complete(str(only(job).upstream_id))
        Provider.objects.update(sweep_due_at=None)
        sweep(upstream)
        return only(job)

    return render


@pytest.fixture
def complete(render: Callable[..., Submission], upstream: Upstream) -> Callable[..., Job]:
    def complete(**asked: Any) -> Job:
        submission = render(**asked)
        store(submission, upstream)
        job = Job.objects.get(pk=submission.job_id)
        assert job.status == "completed"
        return job

    return complete
