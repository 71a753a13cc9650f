"""Budgets, and what was spent and reserved of them."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction

from accounts.models.api_key import ApiKey
from accounts.models.user import User


class Budget(models.Model):
    """What an owner, or one of its keys, may spend in a period."""

    class Period(models.TextChoices):
        """Days and months of UTC."""

        DAY = "day", "daily"
        MONTH = "month", "monthly"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="budgets")
    # Null: everything that the owner spends, with any key.
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

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Waits for creates that were checked when there was no such budget."""
        with transaction.atomic():
            User.objects.select_for_update().get(pk=self.owner_id)
            super().save(*args, **kwargs)

    @staticmethod
    def hold_back(owner: User) -> None:
        """Lets nobody set a budget of this owner until the transaction ends. Those who call this do not wait
        for each other."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR KEY SHARE", [owner.pk])

    def clean(self) -> None:
        """A key's budget belongs to the key's owner."""
        if self.api_key is not None and self.api_key.owner_id != self.owner_id:
            raise ValidationError({"api_key": "This key is another owner's."})


class Spending(models.Model):
    """What an owner, or one of its keys, has reserved and spent in one period. It is counted, not summed,
    and may be some seconds behind: accounts.budgets.counting.

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
    """The price of one render: reserved when it is asked for, then settled or released once."""

    class State(models.TextChoices):
        """A reservation ends once, settled or released."""

        # The value is from the first release.

        RESERVED = "held", "Held"
        SETTLED = "settled"
        RELEASED = "released"

    class Counting(models.TextChoices):
        """What the counters have of a reservation."""

        NEW = "new"
        """Nothing."""
        COUNTED = "counted"
        """All of it."""
        ENDED = "ended"
        """That it is reserved, which it is no more."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    # US dollars.
    amount = models.DecimalField(max_digits=12, decimal_places=4)
    settled = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    state = models.CharField(max_length=8, choices=State, default=State.RESERVED)
    # The day that it counts for, whenever it ends.
    made_on = models.DateField()
    # The database's default is for rows of versions that counted at once.
    counting = models.CharField(
        max_length=7, choices=Counting, default=Counting.NEW, db_default=Counting.COUNTED
    )

    class Meta:
        indexes = [
            # Few, unless no worker has run for long.
            models.Index(
                fields=["owner", "id"], condition=~models.Q(counting="counted"), name="reservation_uncounted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.made_on}, {self.state}"
