"""Accounts."""

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import connections, models
from django.db.models.functions import Lower


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
