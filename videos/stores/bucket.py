"""A bucket of S3 or of what speaks its protocol. Its errors are OSErrors, as those of a disk are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Final, NamedTuple

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

_CONNECT_SECONDS: Final = 3
_READ_SECONDS: Final = 20
_PART_BYTES: Final = 16 * 1024 * 1024
_MISSING: Final = {"404", "NoSuchKey", "NotFound"}
# To a HEAD there is no code, only the status.
_SAID: Final = {"404": "does not exist", "NoSuchBucket": "does not exist", "403": "refuses these credentials"}


class Listed(NamedTuple):
    """An object: its name below the prefix of the bucket, its bytes, and when it was written."""

    name: str
    size: int
    written_at: datetime


class Bucket(S3Storage):  # type: ignore[misc]
    """Files below a prefix of one bucket. It can be used by many threads."""

    def __init__(self, **options: Any) -> None:
        style = options.pop("addressing_style", None)
        super().__init__(
            **options,
            client_config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={"addressing_style": style or "auto"},
                # Links of the older signature are refused by regions that were opened after 2013.
                signature_version="s3v4",
                # Servers other than Amazon's may not know the trailing checksums that boto3 sends by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            # Parts one after the other, in the calling thread: a worker has many, and each part is in memory.
            transfer_config=TransferConfig(
                multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, use_threads=False
            ),
            default_acl=None,
            gzip=False,
            custom_domain=None,
            querystring_auth=True,
            object_parameters={},
            file_overwrite=True,
        )
        self._making = threading.Lock()

    @cached_property
    def _session(self) -> Any:
        return super()._create_session()

    def _create_session(self) -> Any:
        # One for all threads: each has the description of the whole protocol in memory.
        return self._session

    @property
    def connection(self) -> Any:
        """That of the calling thread."""
        with self._making:
            return super().connection

    @property
    def bucket(self) -> Any:
        """Not kept: it belongs to the thread that has made it."""
        return self.connection.Bucket(self.bucket_name)

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    @contextmanager
    def errors(self, name: str = "") -> Iterator[None]:
        """Raises FileNotFoundError and OSError in place of boto3's errors, with no secret and no address."""
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if name and code in _MISSING:
                raise FileNotFoundError(f"{name} is not in the bucket {self.bucket_name}") from error
            what = _SAID.get(code, f"answers {code or 'with an error'}")
            raise OSError(f"the bucket {self.bucket_name} {what}") from error
        except (BotoCoreError, Boto3Error, HTTPError) as error:
            reason = type(error.__cause__ or error).__name__
            raise OSError(f"the bucket {self.bucket_name} cannot be reached: {reason}") from error

    def problem(self) -> str:
        """Why nothing can be stored there, in words; "" if it answers."""
        try:
            with self.errors():
                self._client.head_bucket(Bucket=self.bucket_name)
        except OSError as error:
            return str(error)
        return ""

    def open_at(self, name: str, start: int) -> BinaryIO:
        """The content from a place on, as it comes. Raises OSError."""
        with self.errors(name):
            found = self._client.get_object(
                Bucket=self.bucket_name, Key=self._normalize_name(name), Range=f"bytes={start}-"
            )
        return _Content(self, found["Body"])  # type: ignore[return-value]

    def listed(self, folder: str, after: str = "") -> Iterator[Listed]:
        """The objects below a folder by name, those after `after`; a page of a thousand in memory at a
        time. Raises OSError."""
        prefix = self._normalize_name(folder) + "/"
        asked = {"Prefix": prefix} | ({"Marker": self._normalize_name(after)} if after else {})
        objects = iter(self.bucket.objects.filter(**asked))
        while True:
            with self.errors():
                found = next(objects, None)
            if found is None:
                return
            name = found.key.removeprefix(f"{self.location}/" if self.location else "")
            yield Listed(name, found.size, found.last_modified)

    def end_uploads(self, folder: str, before: datetime) -> int:
        """Ends uploads that were begun before then, and never came to their end: their parts cost money, and
        no list of objects shows them. Returns how many. Raises OSError."""
        ended = 0
        with self.errors():
            uploads = self.bucket.multipart_uploads.filter(Prefix=self._normalize_name(folder) + "/")
            for upload in uploads:
                if upload.initiated < before:
                    upload.abort()
                    ended += 1
        return ended


class _Content:
    """The body of an answer, as a file that can only be read on."""

    def __init__(self, bucket: Bucket, body: Any) -> None:
        self._bucket = bucket
        self._body = body

    def read(self, size: int = -1) -> bytes:
        with self._bucket.errors():
            return bytes(self._body.read(None if size < 0 else size))

    def close(self) -> None:
        with suppress(OSError), self._bucket.errors():
            self._body.close()

    def __enter__(self) -> "_Content":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
