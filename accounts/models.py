"""Who may ask."""

import hashlib
import hmac
import logging
import uuid
from datetime import datetime, timedelta
from typing import Final, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connections, models
from django.db.models.functions import Lower, Now
from django.utils import timezone

from accounts.keys.secret import printable
from accounts.keys.secret import secret as keys

logger = logging.getLogger(__name__)

_NOTED_EVERY: Final = timedelta(minutes=1)


class Users(UserManager["User"]):
    """Users, whose names differ by more than the case of their letters."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> "User":
        """By the name in any case, as it is typed at log-in."""
        # The database lowers both: not every one knows all letters that Python knows.
        return self.alias(lowered=Lower("username")).get(lowered=Lower(models.Value(username)))

    def lowered(self, username: str) -> str:
        """The name as the database lowers it; what is the same then is one name, whether anybody has it."""
        with connections[self.db].cursor() as cursor:
            cursor.execute("SELECT LOWER(%s)", [username])
            lowered: str = cursor.fetchone()[0]
            return lowered


class User(AbstractUser):
    """A person or a program that owns jobs. Ours from the start, because Django cannot swap it later."""

    objects = Users()  # type: ignore[misc]

    class Meta(AbstractUser.Meta):
        # Also the index of Users.get_by_natural_key.
        constraints = [models.UniqueConstraint(Lower("username"), name="user_username_once")]


class ApiKey(models.Model):
    """One caller's secret, kept only as a digest. A revoked key stays: jobs refer to it."""

    class Scope(models.TextChoices):
        """What a key may do. Each includes those before it, so one word says all that a key opens, and of two
        keys one is always the narrower."""

        READ = "read"
        WRITE = "write"
        ADMIN = "admin"

        def includes(self, other: "ApiKey.Scope") -> bool:
            """Whether who has this one may do what needs the other."""
            order = list(ApiKey.Scope)
            return order.index(self) >= order.index(other)

    class Status(models.TextChoices):
        """Whether a key opens anything."""

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
        """The digest under which a secret is kept."""
        return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def issue(
        cls,
        owner: User,
        name: str,
        *,
        scope: Scope = Scope.WRITE,
        expires_at: datetime | None = None,
        secret: str = "",
    ) -> tuple[Self, str]:
        """Makes a key and returns it with its secret, which is not kept and cannot be shown again."""
        key = cls(owner=owner, name=name, scope=scope, expires_at=expires_at)
        secret = key.take_secret(secret)
        key.save(force_insert=True)
        return key, secret

    def take_secret(self, secret: str = "") -> str:
        """Gives a key that is not saved yet this secret, or a new one, and returns it."""
        secret = secret or keys.generate()
        self.prefix, self.digest = secret[: keys.PREFIX_LENGTH], self.digest_of(secret)
        return secret

    @classmethod
    def of_secret(cls, secret: str) -> Self | None:
        """The key that was issued with this secret, whatever its status, with its owner; None for none."""
        digest = cls.digest_of(secret)
        # The digest, not the secret, is what the index compares, so its timing tells nothing of the secret.
        key = cls.objects.select_related("owner").filter(digest=digest).first()
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

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
        """Ends the key with its next request, for good; False where it was revoked before."""
        won = ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())
        self.refresh_from_db(fields=["revoked_at"])
        return bool(won)

    def note_use(self) -> None:
        """Keeps when the key was used, once a minute at most. Never raises: no request fails of it."""
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


class Budget(models.Model):
    """What an owner, or one of its keys, may spend in a period."""

    class Period(models.TextChoices):
        """Of UTC."""

        DAY = "day", "daily"
        MONTH = "month", "monthly"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="budgets")
    # Null: all that the owner spends, with whatever key.
    api_key = models.ForeignKey(ApiKey, models.CASCADE, null=True, blank=True, related_name="budgets")
    period = models.CharField(max_length=5, choices=Period)
    # US dollars.
    limit = models.DecimalField(max_digits=12, decimal_places=4)

    class Meta:
        constraints = [
            # Two each here and below, because not every database can take two nulls for the same.
            models.UniqueConstraint(
                fields=["owner", "period"], condition=models.Q(api_key=None), name="budget_of_owner_once"
            ),
            models.UniqueConstraint(
                fields=["api_key", "period"], condition=~models.Q(api_key=None), name="budget_of_key_once"
            ),
            models.CheckConstraint(condition=models.Q(limit__gte=0), name="budget_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.limit} {self.get_period_display()} of {self.api_key or self.owner}"

    def clean(self) -> None:
        """A key's budget belongs to the key's owner."""
        if self.api_key is not None and self.api_key.owner_id != self.owner_id:
            raise ValidationError({"api_key": "This key is another owner's."})


class Spending(models.Model):
    """What an owner, or one of its keys, has reserved and spent in one period. Counted, never recomputed.

    In ten-thousandths of a dollar: SQLite has no exact fractions.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, models.CASCADE, null=True, related_name="+")
    period = models.CharField(max_length=5, choices=Budget.Period)
    starts_on = models.DateField()
    reserved = models.BigIntegerField(default=0)
    settled = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "starts_on", "period"],
                condition=models.Q(api_key=None),
                name="spending_of_owner_once",
            ),
            models.UniqueConstraint(
                fields=["api_key", "starts_on", "period"],
                condition=~models.Q(api_key=None),
                name="spending_of_key_once",
            ),
            models.CheckConstraint(
                condition=models.Q(reserved__gte=0, settled__gte=0), name="spending_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.period} of {self.starts_on}: {self.reserved} + {self.settled}"


class Reservation(models.Model):
    """The price of one render, set aside when it is asked for, and settled or released once."""

    class State(models.TextChoices):
        """Only what is held can end."""

        HELD = "held"
        SETTLED = "settled"
        RELEASED = "released"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    # US dollars.
    amount = models.DecimalField(max_digits=12, decimal_places=4)
    settled = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    state = models.CharField(max_length=8, choices=State, default=State.HELD)
    # The day that it counts for, whenever it ends.
    made_on = models.DateField()

    def __str__(self) -> str:
        return f"{self.amount} of {self.made_on}, {self.state}"


class Session(models.Model):
    """A log-in of a person, from which access and refresh tokens are issued; it ends when its row goes."""

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
    """Failed log-ins from an address, as a username, or as both: accounts.sessions.lockout."""

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
