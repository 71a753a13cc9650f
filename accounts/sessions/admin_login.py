"""The admin's log-in. It uses the same passwords and the same lock-out as /api/auth/login."""

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.addresses import address_of
from accounts.sessions import lockout


class CountedLoginForm(AdminAuthenticationForm):
    """Counts each try before it checks the password."""

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError if the try failed, or was locked out."""
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
