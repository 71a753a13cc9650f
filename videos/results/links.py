"""Signed links to the files of a job: who has one reads that file until the link ends, without a key."""

import logging
import math
import time
from functools import lru_cache
from pathlib import PurePath
from typing import Final, Protocol, Self
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer

from videos.results.names import KINDS, disposition, file_name
from videos.stores.media import is_in_bucket, link_to

logger = logging.getLogger(__name__)

# A link is the same for a tenth of its life, so what shows it can be kept, by us and by browsers.
_STEPS: Final = 10
_SALT: Final = "videos.results.links"


class _Job(Protocol):
    """What a link needs to know of a job."""

    @property
    def pk(self) -> UUID: ...

    @property
    def prompt(self) -> str: ...


class Addresses:
    """The addresses of files below one address of the API. They are for their owner, who has a key."""

    def __init__(self, base: str) -> None:
        self.base = base

    def to(self, job: UUID, variant: str) -> str:
        """The address of a file of a job."""
        query = "" if variant == "video" else f"?variant={variant}"
        return f"{self.base}{job}/content{query}"

    def to_file(self, job: _Job, variant: str, stored: str) -> str:
        """The same, of a file that is stored under this name."""
        return self.to(job.pk, variant)


class Links(Addresses):
    """Links that end at one time, and need no key."""

    def __init__(self, base: str, expires: int) -> None:
        super().__init__(base)
        # Unix time.
        self.expires = expires
        self._signer = Signer(salt=_SALT)

    @classmethod
    def now(cls, base: str) -> Self:
        """Links that end between nine tenths of RESULT_URL_TTL and the whole of it from now."""
        step = max(1, settings.RESULT_URL_TTL // _STEPS)
        return cls(base, int(time.time()) // step * step + settings.RESULT_URL_TTL)

    def to(self, job: UUID, variant: str) -> str:
        """The link to a file of a job, and to nothing else."""
        signature = self._signer.signature(_named(job, variant, self.expires))
        # Nothing of it has to be escaped.
        return f"{self.base}{job}/content?variant={variant}&expires={self.expires}&signature={signature}"

    def to_file(self, job: _Job, variant: str, stored: str) -> str:
        """The link to a stored file: the bucket's own, if it is in one."""
        if not is_in_bucket(stored):
            return self.to(job.pk, variant)
        try:
            return _of_bucket(stored, file_name(job.prompt, job.pk, variant, stored), "GET", self.expires)
        except OSError as error:
            # Ours says what is wrong to whoever follows it.
            logger.warning("No link of its bucket for %s: %s", stored, error)
            return self.to(job.pk, variant)


def bucket_link(job: _Job, variant: str, stored: str, method: str) -> str:
    """A bucket's link to a file of it, by this method."""
    return _of_bucket(stored, file_name(job.prompt, job.pk, variant, stored), method, Links.now("").expires)


# One text as long as a link of ours would be, so that what has it in it stays the same.
@lru_cache(maxsize=4096)
def _of_bucket(stored: str, name: str, method: str, expires: int) -> str:
    kind = KINDS.get(PurePath(stored).suffix, "application/octet-stream")
    return link_to(stored, method, max(1, expires - int(time.time())), kind, disposition(name))


def is_genuine(job: UUID, variant: str, expires: int, signature: str) -> bool:
    """Whether we made this link; it may have ended."""
    signer = Signer(salt=_SALT)
    try:
        signer.unsign(f"{_named(job, variant, expires)}{signer.sep}{signature}")
    except BadSignature:
        return False
    return True


def has_ended(expires: int) -> bool:
    """Whether a link that ends at this Unix time has."""
    return expires <= math.floor(time.time())


def _named(job: UUID, variant: str, expires: int) -> str:
    return f"{job}/{variant}/{expires}"
