"""Who may ask."""

import hashlib
import secrets
from typing import Final, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Now

_MARK: Final = "takeone_"


class User(AbstractUser):
    """A person or a program that owns jobs. Ours from the start, because Django cannot swap it later."""


class ApiKey(models.Model):
    """One caller's secret, kept only as a digest."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    # Shown in lists and logs, so that a person can tell keys apart without the secret.
    prefix = models.CharField(max_length=16)
    # SHA-256 in hex. The secret has 256 random bits, so a slow password hash would add nothing.
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(secret: str) -> str:
        """The digest under which a secret is kept."""
        return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def issue(cls, owner: User, name: str, secret: str = "") -> tuple[Self, str]:
        """Makes a key and returns it with its secret, which is not kept and cannot be shown again."""
        secret = secret or _MARK + secrets.token_urlsafe(32)
        key = cls.objects.create(owner=owner, name=name, prefix=secret[:12], digest=cls.digest_of(secret))
        return key, secret


class IdempotencyKey(models.Model):
    """A caller's word that a request is the same as before, with the answer that it got."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    # SHA-256 in hex over method, address and body.
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.JSONField(default=dict)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            # A twin that arrives while the first still runs waits here for its end.
            models.UniqueConstraint(fields=["owner", "key"], name="idempotency_key_once"),
        ]
        # An owner's expired keys are deleted with the next one.
        indexes = [models.Index(fields=["owner", "created_at"], name="idempotency_key_expired")]

    def __str__(self) -> str:
        return f"{self.owner_id} {self.key}"
