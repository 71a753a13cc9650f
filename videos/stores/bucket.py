"""A bucket of S3 or of what speaks its protocol. Its errors are OSErrors, as those of a disk are."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Final, NamedTuple

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import SuspiciousOperation
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

# Of calls that a caller waits for: to connect, to read, and how often it is tried.
_QUICK: Final = (3, 10, 1)
# Of calls with content. To connect: it counts for each piece of a body as well.
_PATIENT: Final = (10, 20, 2)
_PART_BYTES: Final = 16 * 1024 * 1024
_MARKER_BYTES: Final = 1000
_MISSING: Final = {"404", "NoSuchKey", "NotFound"}
# To a HEAD there is no code, only the status.
_SAID: Final = {"404": "does not exist", "NoSuchBucket": "does not exist", "403": "refuses these credentials"}


class Listed(NamedTuple):
    """An object: its name below the prefix of the bucket, its bytes, and when it was written."""

    name: str
    size: int
    written_at: datetime


class Bucket(S3Storage):  # type: ignore[misc]
    """Files below a prefix of one bucket. It can be used by many threads.

    `patient`: for what is sent, read and listed, which may take long.
    """

    def __init__(self, *, patient: bool = False, **options: Any) -> None:
        style = options.pop("addressing_style", None)
        connect, read, attempts = _PATIENT if patient else _QUICK
        super().__init__(
            **options,
            client_config=Config(
                connect_timeout=connect,
                read_timeout=read,
                retries={"mode": "standard", "total_max_attempts": attempts},
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
        # ValueError: an endpoint that is no address.
        except (BotoCoreError, Boto3Error, HTTPError, SuspiciousOperation, ValueError) as error:
            reason = type(error.__cause__ or error).__name__
            raise OSError(f"the bucket {self.bucket_name} cannot be reached: {reason}") from error

    def marker(self, name: str) -> str | None:
        """The text of a small object; None if it is not there. Raises OSError."""
        try:
            with self.errors():
                # To a question for an object, a missing bucket and a missing object answer the same.
                self._client.head_bucket(Bucket=self.bucket_name)
            with self.errors(name):
                found = self._client.get_object(Bucket=self.bucket_name, Key=self._key(name))
                return str(found["Body"].read(_MARKER_BYTES).decode(errors="replace").strip())
        except FileNotFoundError:
            return None

    def write_marker(self, name: str, text: str) -> None:
        """Writes a small object. Raises OSError."""
        with self.errors():
            self._client.put_object(Bucket=self.bucket_name, Key=self._key(name), Body=text.encode())

    def open_at(self, name: str, start: int) -> BinaryIO:
        """The content from a place on, as it comes. Raises OSError."""
        asked = {"Range": f"bytes={start}-"} if start else {}
        with self.errors(name):
            found = self._client.get_object(Bucket=self.bucket_name, Key=self._key(name), **asked)
        content = _Content(self, found["Body"])
        if start and not str(found.get("ContentRange", "")).startswith(f"bytes {start}-"):
            content.close()
            raise OSError(f"the bucket {self.bucket_name} does not answer with the range that was asked for")
        return content  # type: ignore[return-value]

    def link(self, name: str, method: str, seconds: int, headers: dict[str, str]) -> str:
        """A link that ends after so many seconds, to an answer with these headers. Raises OSError.

        `url` of django-storages makes a resource for each, which takes as long as the signature.
        """
        asked = {"Bucket": self.bucket_name, "Key": self._key(name), **headers}
        with self.errors():
            return str(
                self._client.generate_presigned_url(
                    "get_object", Params=asked, ExpiresIn=seconds, HttpMethod=method
                )
            )

    def delete_all(self, names: Sequence[str]) -> None:
        """Deletes up to a thousand files, if they are there. Raises OSError."""
        objects = [{"Key": self._key(name)} for name in names]
        with self.errors():
            answer = self._client.delete_objects(
                Bucket=self.bucket_name, Delete={"Objects": objects, "Quiet": True}
            )
        if failed := answer.get("Errors"):
            code = failed[0].get("Code")
            raise OSError(f"the bucket {self.bucket_name} has not deleted {len(failed)} files: {code}")

    def _key(self, name: str) -> str:
        return str(self._normalize_name(name))

    def listed(self, folder: str, after: str = "") -> Iterator[Listed]:
        """The objects below a folder by name, those after `after`; a page of a thousand in memory at a
        time. Raises OSError."""
        asked = {"Prefix": f"{self._key(folder)}/"} | ({"Marker": self._key(after)} if after else {})
        with self.errors():
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
            uploads = self.bucket.multipart_uploads.filter(Prefix=f"{self._key(folder)}/")
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
