"""The archive of a batch has its videos from a bucket as well."""

import io
import zipfile
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from tests.batches.conftest import MakeBatch, Renders, make_batch, renders
from tests.batches.test_content import body, fetch
from tests.videos.scripted import clip
from videos.models import Job
from videos.stores.bucket import Bucket

__all__ = ["make_batch", "renders"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batch(bucket: Bucket, make_batch: MakeBatch, renders: Renders) -> Any:
    batch = make_batch(3)
    renders.send()
    renders.end("boat 1")
    renders.end("boat 2")
    return batch


def test_any_range_of_it_is_that_of_the_whole(api: Client, batch: Any) -> None:
    whole = body(fetch(api, batch))
    archive = zipfile.ZipFile(io.BytesIO(whole))
    assert archive.testzip() is None
    assert archive.namelist() == ["00001.mp4", "00002.mp4", "manifest.csv", "manifest.jsonl"]
    assert archive.read("00002.mp4") == clip()
    size = len(whole)
    for first in (0, 1, 40, len(clip()), size // 2, size - 1):
        for last in (first, min(size - 1, first + 300), size - 1):
            answer = fetch(api, batch, range=f"bytes={first}-{last}")
            assert (answer.status_code, body(answer)) == (206, whole[first : last + 1])


def test_it_ends_where_a_video_is_gone(api: Client, batch: Any) -> None:
    """The bucket is not asked before: a caller sees an archive that is not complete, and can go on later."""
    default_storage.delete(str(Job.objects.get(prompt="boat 2").video.name))
    answer = fetch(api, batch)
    got = bytearray()
    with pytest.raises(FileNotFoundError):
        for chunk in answer.streaming_content:
            got += chunk
    assert len(clip()) < len(got) < int(answer["Content-Length"])
