"""What production installs keeps a video in a bucket."""

from collections.abc import Callable
from urllib.parse import urlsplit

import boto3
import pytest
import requests

from tests.e2e.conftest import Up
from tests.e2e.processes import eventually
from tests.stores.s3_server import s3_server
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.e2e


def test_a_video_is_made_kept_and_fetched(up: Callable[..., Up]) -> None:
    with s3_server() as server:
        keys = {"aws_access_key_id": "an-id", "aws_secret_access_key": "a-secret"}
        store = boto3.client("s3", endpoint_url=server, region_name="us-east-1", **keys)
        store.create_bucket(Bucket="results")
        settings = {
            "RESULT_STORAGE": f"s3://results/ours?endpoint={server}&region=us-east-1&addressing=path",
            **{name.upper(): value for name, value in keys.items()},
        }
        caller = up(**settings).caller
        job, _ = caller.follow(caller.ask_for("A harbour at dawn"), within=45)
        link = job["result"]["videoUrl"]
        assert f"{urlsplit(link).scheme}://{urlsplit(link).netloc}" == server
        # Without a key.
        video = requests.get(link, timeout=TIMEOUT)
        assert (video.status_code, len(video.content)) == (200, job["result"]["fileSize"])
        assert video.content[4:8] == b"ftyp"
        names = [each["Key"] for each in store.list_objects_v2(Bucket="results")["Contents"]]
        assert "ours/takeone-media.txt" in names
        assert all(name.startswith("ours/") for name in names)

        def storage() -> str:
            answer = requests.get(f"{caller.address}/ready", timeout=TIMEOUT).json()
            return str(answer["checks"]["storage"])

        assert storage() == "healthy"
        store.delete_object(Bucket="results", Key="ours/takeone-media.txt")
        eventually(lambda: "the bucket has no marker" in storage(), "it to be named by /ready", within=30)
