"""Sessions of people, and failed log-ins."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Session(models.Model):
    """One log-in of a person. Access and refresh tokens are issued for it; it ends when its row is
    deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sessions")
    # User.get_session_auth_hash at the log-in: another password ends the session.
    password_mark = models.CharField(max_length=128)
    # The id (jti) of the one refresh token that is taken, and of the one that it has replaced.
    refresh_id = models.CharField(max_length=32)
    replaced_id = models.CharField(max_length=32, blank=True)
    replaced_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        # Expired ones are deleted with each log-in.
        indexes = [models.Index(fields=["expires_at"], name="session_expired")]

    def __str__(self) -> str:
        return f"{self.user_id} since {self.created_at}"


class LoginAttempts(models.Model):
    """Failed log-ins by address, by username, or by both (accounts.sessions.lockout)."""

    # SHA-256 in hex: what is typed as a username may be a password.
    subject = models.CharField(max_length=64, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    counted_from = models.DateTimeField()
    locked_until = models.DateTimeField(null=True)
    succeeded_at = models.DateTimeField(null=True)
    forget_at = models.DateTimeField()

    class Meta:
        # Those that say nothing any more are deleted with each log-in.
        indexes = [models.Index(fields=["forget_at"], name="login_attempts_forgotten")]

    def __str__(self) -> str:
        return f"{self.subject[:8]} {self.failures}"
