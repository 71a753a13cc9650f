"""Accounts."""

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import connections, models
from django.db.models.functions import Lower


class Users(UserManager["User"]):
    """Users. No two names are equal if case is ignored."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> "User":
        """Finds a user by name, ignoring case."""
        # The database lowers both: not every one knows all letters that Python knows.
        return self.alias(lowered=Lower("username")).get(lowered=Lower(models.Value(username)))

    def lowered(self, username: str) -> str:
        """The name in lower case, as the database lowers it. Names that are equal then are the same name."""
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
