"""The admin's log-in, which takes the same passwords as /api/auth/login, and locks out with it."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.addresses import address_of
from accounts.sessions import lockout


class CountedLoginForm(AdminAuthenticationForm):
    """Counts a try before the password is looked at."""

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError where the try failed, or was not admitted."""
        username = self.cleaned_data.get("username")
        if username is None or self.request is None:
            return super().clean()
        try:
            attempt = lockout.admit(username, address_of(self.request), now=timezone.now())
        except lockout.LockedOut as locked:
            minutes = int(locked.wait // 60) + 1
            raise ValidationError(
                f"Too many log-ins have failed. Try again in {minutes} min.", code="locked_out"
            ) from locked
        cleaned = super().clean()
        lockout.succeed(attempt, now=timezone.now())
        return cleaned
