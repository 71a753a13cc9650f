"""Views to register, log in, stay logged in, and log out."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.middleware.csrf import get_token, rotate_token
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.addresses import address_of
from accounts.models import User
from accounts.sessions import lockout, tokens
from accounts.sessions.cookies import enforce_csrf, refuse_other_origins
from accounts.sessions.serializers import (
    CREDENTIALS_EXAMPLE,
    Credentials,
    Person,
    Registration,
    person_example,
)
from api.addresses.parameters import parameters_of
from api.bodies.fields import StrictSerializer


class RegistrationClosed(APIException):
    """403: only the operator makes accounts."""

    status_code = status.HTTP_403_FORBIDDEN
    default_code = "registration_closed"
    default_detail = "Nobody can register here. Ask who runs this service for an account."


class WrongCredentials(APIException):
    """401: no active user has this name and password. It does not say which is wrong."""

    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "wrong_credentials"
    default_detail = "The username or the password is wrong."
    auth_header = "Bearer"


class _SessionView(APIView):
    """Its answers are for one browser and are not cached."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters, because they would be ignored."""
        super().initial(request, *args, **kwargs)
        StrictSerializer(data=parameters_of(request)).is_valid(raise_exception=True)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response


class _OpenView(_SessionView):
    """Asks for no key and no session."""

    authentication_classes = ()
    permission_classes = ()


def _person(request: Request, user: User) -> dict[str, Any]:
    data = {
        "id": user.pk,
        "username": user.username,
        "email": user.email or None,
        "csrfToken": get_token(request._request),
    }
    return {"success": True, "data": data}


def _log_in(request: Request, user: User, status_code: int) -> Response:
    """Starts a session, and ends the one that the browser had."""
    tokens.end(request._request)
    session = tokens.begin(user)
    user_logged_in.send(sender=type(user), request=request._request, user=user)
    # What another site may have made the browser keep is worth nothing from here on.
    rotate_token(request._request)
    response = Response(_person(request, user), status_code)
    tokens.give_cookies(response, session)
    return response


class RegisterView(_OpenView):
    """Makes accounts, if ALLOW_REGISTRATION is on."""

    rate_limit = "logins"

    @extend_schema(
        operation_id="register",
        summary="Make an account and log in",
        tags=["sessions"],
        auth=[],
        request=Registration,
        responses={201: Person},
        examples=[
            OpenApiExample(
                "Request", value=CREDENTIALS_EXAMPLE | {"email": "ada@example.com"}, request_only=True
            ),
            person_example("201"),
        ],
    )
    def post(self, request: Request) -> Response:
        """Sets the session's cookies."""
        refuse_other_origins(request)
        if not settings.ALLOW_REGISTRATION:
            raise RegistrationClosed
        asked = Registration(data=request.data)
        asked.is_valid(raise_exception=True)
        return _log_in(request, _register(**asked.validated_data), status.HTTP_201_CREATED)


def _register(username: str, password: str, email: str = "") -> User:
    try:
        validate_password(password, User(username=username, email=email))
    except DjangoValidationError as error:
        problems = [ErrorDetail(message, code="weak_password") for message in error.messages]
        raise ValidationError({"password": problems}) from error
    try:
        with transaction.atomic():
            return User.objects.create_user(username, email, password)
    except IntegrityError as error:
        try:
            User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            raise error from None
        taken = ErrorDetail("This username is taken.", code="taken")
        raise ValidationError({"username": [taken]}) from error


class LoginView(_OpenView):
    """Logs a person in."""

    rate_limit = "logins"

    @extend_schema(
        operation_id="logIn",
        summary="Log in",
        tags=["sessions"],
        auth=[],
        request=Credentials,
        responses={200: Person},
        examples=[
            OpenApiExample("Request", value=CREDENTIALS_EXAMPLE, request_only=True),
            person_example("200"),
        ],
    )
    def post(self, request: Request) -> Response:
        """Sets the session's cookies. After repeated failures, even the right password is answered with 429
        for a while."""
        refuse_other_origins(request)
        asked = Credentials(data=request.data)
        asked.is_valid(raise_exception=True)
        username, password = asked.validated_data["username"], asked.validated_data["password"]
        attempt = lockout.admit(username, address_of(request._request), now=timezone.now())
        # Takes as long for a name that does not exist.
        user = authenticate(request._request, username=username, password=password)
        if not isinstance(user, User):
            raise WrongCredentials
        lockout.succeed(attempt, now=timezone.now())
        return _log_in(request, user, status.HTTP_200_OK)


class RefreshView(_OpenView):
    """Refreshes a session."""

    @extend_schema(
        operation_id="refreshSession",
        summary="Renew the session's cookies",
        tags=["sessions"],
        auth=[{"refreshCookie": []}],  # type: ignore[list-item]
        request=None,
        responses={200: Person},
        examples=[person_example("200")],
    )
    def post(self, request: Request) -> Response:
        """Replaces both tokens. A refresh token that was replaced before ends its session."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        enforce_csrf(request)
        session = tokens.rotate(request._request)
        response = Response(_person(request, session.user))
        tokens.give_cookies(response, session)
        return response


class LogoutView(_OpenView):
    """Ends a session, with either of its cookies."""

    @extend_schema(
        operation_id="logOut",
        summary="Log out",
        tags=["sessions"],
        auth=[{"cookie": []}],  # type: ignore[list-item]
        request=None,
        responses={204: OpenApiResponse(description="The session has ended; or there was none.")},
    )
    def post(self, request: Request) -> Response:
        """Ends the session at once, also for copies of its cookies."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        enforce_csrf(request)
        tokens.end(request._request)
        response = Response(status=status.HTTP_204_NO_CONTENT)
        tokens.take_cookies(response)
        return response


class MeView(_SessionView):
    """Shows the caller."""

    @extend_schema(
        operation_id="getMe",
        summary="Who am I",
        tags=["sessions"],
        responses={200: Person},
        examples=[person_example("200")],
    )
    def get(self, request: Request) -> Response:
        """Also returns the CSRF token, for a page that was loaded again."""
        return Response(_person(request, request.user))  # type: ignore[arg-type]
