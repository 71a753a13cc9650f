"""The app of accounts."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Loads the authenticator's description for the schema."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing them registers their extensions.
        from accounts import schema  # noqa: F401
        from api.openapi import strict as requests_schema  # noqa: F401
