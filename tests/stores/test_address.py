"""The address of a bucket is read, or refused with what to write instead, and no secret is quoted."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.settings import results
from tests.docs.test_env_example import settings_with


@pytest.mark.parametrize("address", ["", "disk"])
def test_the_disk_is_no_bucket(address: str) -> None:
    assert results._bucket("RESULT_STORAGE", address) is None


def test_every_part_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "s3://my-bucket/of/ours/?endpoint=https://s3.example:9000/&region=eu-1&addressing=path"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    assert results._bucket("RESULT_STORAGE", address) == {
        "bucket_name": "my-bucket",
        "location": "of/ours",
        "endpoint_url": "https://s3.example:9000",
        "region_name": "eu-1",
        "addressing_style": "path",
        "access_key": "an-id",
        "secret_key": "a-secret",
        "security_token": None,
    }


def test_only_the_bucket_has_to_be_there() -> None:
    found = results._bucket("RESULT_STORAGE", "s3://my-bucket")
    assert found is not None
    assert (found["bucket_name"], found["location"], found["endpoint_url"]) == ("my-bucket", "", None)


@pytest.mark.parametrize(
    "address",
    [
        "my-bucket",
        "https://my-bucket.s3.example/",
        "s3://",
        "s3:///prefix",
        "s3://My_Bucket",
        "s3://b",
        "s3://an-id:sesame@my-bucket",
        "s3://my-bucket/a/../b",
        "s3://my-bucket/a b",
        "s3://my-bucket?secret=sesame",
        "s3://my-bucket?endpoint=ftp://s3.example",
        "s3://my-bucket?endpoint=https://an-id:sesame@s3.example",
        "s3://my-bucket?addressing=any",
        "s3://my-bucket#sesame",
        "S3://[sesame",
    ],
)
def test_what_cannot_be_read_is_refused(address: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match="RESULT_STORAGE must be disk or an address such as"
    ) as caught:
        results._bucket("RESULT_STORAGE", address)
    assert "sesame" not in str(caught.value)


def test_new_results_go_to_the_first_and_both_are_read() -> None:
    found = settings_with(RESULT_STORAGE="disk", RESULT_STORAGE_BEFORE="s3://older")
    assert found["RESULT_STORAGE"] is None
    with pytest.raises(Exception, match="exit status 1"):
        settings_with(RESULT_STORAGE="s3://one/a", RESULT_STORAGE_BEFORE="s3://one/b")
