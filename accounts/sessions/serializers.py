"""The requests and answers of log-in."""

from typing import Any

from django.contrib.auth.validators import ASCIIUsernameValidator
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from api.bodies.fields import StrictCharField, StrictSerializer

_MAX_NAME_LENGTH = 150

# A password costs time by its length.
_MAX_PASSWORD_LENGTH = 1000


class Credentials(StrictSerializer):
    """A username, in any case, and its password."""

    username = StrictCharField(max_length=_MAX_NAME_LENGTH)
    password = StrictCharField(max_length=_MAX_PASSWORD_LENGTH, trim_whitespace=False)


class Registration(Credentials):
    """A new account."""

    username = StrictCharField(
        max_length=_MAX_NAME_LENGTH,
        validators=[ASCIIUsernameValidator()],
        help_text="Letters, digits and @.+-_; in any case the same name.",
    )
    email = serializers.EmailField(
        max_length=254, required=False, help_text="Kept with the account; nothing is sent to it."
    )


class Person(serializers.Serializer[Any]):
    """Who is logged in."""

    id = serializers.IntegerField()
    username = serializers.CharField()
    email = serializers.CharField(allow_null=True)
    csrfToken = serializers.CharField(
        help_text="To send as X-CSRFToken with each POST and DELETE; log-in makes a new one."
    )


_PERSON = {
    "id": 1,
    "username": "ada",
    "email": "ada@example.com",
    "csrfToken": "fL0Cs4uN2vYbE7rTqKxZpWmHjDgA9S3eVi6UoR5tXyBnMkQhPcGzJwFd8a1lI0Cs",
}

CREDENTIALS_EXAMPLE = {"username": "ada", "password": "a paper boat at dusk"}


def person_example(status_code: str) -> OpenApiExample:
    value = {"success": True, "data": _PERSON}
    return OpenApiExample("Answer", value=value, response_only=True, status_codes=[status_code])
