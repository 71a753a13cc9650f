"""The first user, whom a new deployment has before anybody has an account: a superuser without a password."""

from accounts.models import User
from accounts.sessions.login_link import NotAllowed, link_for

_NAME = "takeone"


def first_user() -> User:
    """The user, who is made if there is none."""
    user, created = User.objects.get_or_create(
        username=_NAME, defaults={"is_staff": True, "is_superuser": True}
    )
    if created:
        user.set_unusable_password()
        user.save()
    return user


def login_link() -> str:
    """A link into the admin for the first user; "" if it may not use the admin."""
    try:
        return link_for(User.objects.get(username=_NAME))
    except (NotAllowed, User.DoesNotExist):
        return ""
