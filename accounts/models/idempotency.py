"""Idempotency keys and the answers kept under them."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class IdempotencyKey(models.Model):
    """A key that a caller sent with a request, and the answer to that request."""

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
        # A worker deletes what has expired.
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return f"{self.owner_id} {self.key}"
