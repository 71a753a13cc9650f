"""API keys."""

import hashlib
import hmac
import logging
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import DatabaseError, models
from django.utils import timezone

from accounts.keys import key_format
from accounts.keys.key_format import printable
from accounts.keys.retention import RETAIN_MAX_SECONDS, RETAIN_MIN_SECONDS
from accounts.models.user import User
from accounts.signals import jobs_released
from api.statements.compiled import Compiled

logger = logging.getLogger(__name__)

_NOTED_EVERY: Final = timedelta(minutes=1)


class ApiKey(models.Model):
    """An API key, stored as a digest. A revoked key stays, because jobs refer to it."""

    class Scope(models.TextChoices):
        """What a key may do. Each scope includes those before it."""

        READ = "read"
        WRITE = "write"
        ADMIN = "admin"

        def includes(self, other: "ApiKey.Scope") -> bool:
            """Whether this scope includes the other."""
            order = list(ApiKey.Scope)
            return order.index(self) >= order.index(other)

    class Status(models.TextChoices):
        """Whether a key is valid."""

        ACTIVE = "active"
        EXPIRED = "expired"
        REVOKED = "revoked"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, validators=[printable])
    scope = models.CharField(max_length=5, choices=Scope)
    # Shown in lists and logs, so that a person can tell keys apart without the secret.
    prefix = models.CharField(max_length=16)
    # SHA-256 in hex. The secret has 256 random bits, so a slow password hash would add nothing.
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Null: never.
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # When an operator released the waiting jobs of a revoked key. Until then they are held.
    jobs_released_at = models.DateTimeField(null=True, blank=True, editable=False)
    # How long the files of its jobs are kept after their completion, in seconds, if a request says nothing.
    retain_for = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(RETAIN_MIN_SECONDS), MaxValueValidator(RETAIN_MAX_SECONDS)],
    )
    # Up to a minute older than the last use: note_use.
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope__in=["read", "write", "admin"]), name="api_key_scope_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(secret: str) -> str:
        """The digest of a secret, as it is stored."""
        return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def issue(
        cls,
        owner: User,
        name: str,
        *,
        scope: Scope = Scope.WRITE,
        expires_at: datetime | None = None,
        retain_for: int | None = None,
        secret: str = "",
    ) -> tuple[Self, str]:
        """Makes a key and returns it with its secret, which is not stored and cannot be shown again."""
        key = cls(owner=owner, name=name, scope=scope, expires_at=expires_at, retain_for=retain_for)
        secret = key.take_secret(secret)
        key.save(force_insert=True)
        return key, secret

    def take_secret(self, secret: str = "") -> str:
        """Gives a key that is not saved yet this secret, or a new one, and returns it."""
        secret = secret or key_format.generate()
        self.prefix, self.digest = secret[: key_format.PREFIX_LENGTH], self.digest_of(secret)
        return secret

    @classmethod
    def of_secret(cls, secret: str) -> Self | None:
        """The key with this secret and its owner, also if it is revoked or expired; None if there is none."""
        digest = cls.digest_of(secret)
        # The digest, not the secret, is what the index compares, so its timing tells nothing of the secret.
        found = _by_digest.rows(digest=digest)
        key = cls._with_owner(found[0]) if found else None
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    @classmethod
    def _with_owner(cls, row: tuple[Any, ...]) -> Self:
        names = [field.attname for field in cls._meta.concrete_fields]
        key = cls.from_db("default", names, row[: len(names)])
        owners = [field.attname for field in User._meta.concrete_fields]
        key.owner = User.from_db("default", owners, row[len(names) :])
        return key

    @property
    def status(self) -> Status:
        """Judged now."""
        if self.revoked_at is not None:
            return self.Status.REVOKED
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return self.Status.EXPIRED
        return self.Status.ACTIVE

    def allows(self, needed: Scope) -> bool:
        """Whether the key's scope includes this one."""
        return self.Scope(self.scope).includes(needed)

    def revoke(self) -> bool:
        """Revokes the key from its next request on; False if it was revoked before."""
        won = ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())
        self.refresh_from_db(fields=["revoked_at"])
        return bool(won)

    def holds_jobs(self) -> bool:
        """Whether its waiting jobs are held: it was revoked, and no operator has released them."""
        return self.revoked_at is not None and self.jobs_released_at is None

    def release_jobs(self) -> None:
        """Releases the waiting jobs of a revoked key, so that they are sent."""
        ApiKey.objects.filter(pk=self.pk, jobs_released_at=None).update(jobs_released_at=timezone.now())
        jobs_released.send(ApiKey, key=self)

    def note_use(self) -> None:
        """Records when the key was used, at most once a minute. Never raises."""
        now = timezone.now()
        stale = now - _NOTED_EVERY
        if self.last_used_at is not None and self.last_used_at > stale:
            return
        unnoted = models.Q(last_used_at=None) | models.Q(last_used_at__lte=stale)
        try:
            # Of requests at the same moment one writes.
            ApiKey.objects.filter(unnoted, pk=self.pk).update(last_used_at=now)
        except DatabaseError as error:
            logger.warning("The use of API key %s could not be noted: %s", self.pk, error)


def _key_and_owner(digest: str) -> models.QuerySet[ApiKey, Any]:
    own = (field.attname for field in ApiKey._meta.concrete_fields)
    owners = (f"owner__{field.attname}" for field in User._meta.concrete_fields)
    return ApiKey.objects.filter(digest=digest).values_list(*own, *owners)


# Every call of a caller begins with it.
_by_digest: Final = Compiled(_key_and_owner)
