"""Who may ask."""

import hashlib
import secrets
from typing import Final, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

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
