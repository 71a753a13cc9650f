"""Django's middlewares that only pages need: those of the admin, and the log-in of people.

A call of the API has a key, or a cookie that is no session of Django's, so it passes them by.
"""

from typing import Any, Final

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponseForbidden
from django.middleware import csrf
from django.utils.deprecation import MiddlewareMixin

_API: Final = ("/api/v1/", "/api/videos/", "/v1/", "/hooks/")


def _is_of_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(_API)


class _ForPages(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> Any:
        if _is_of_api(request):
            return self.get_response(request)
        return super().__call__(request)


class SessionMiddleware(_ForPages, sessions.SessionMiddleware):
    """Django's, for pages."""


class AuthenticationMiddleware(_ForPages, auth.AuthenticationMiddleware):
    """Django's, for pages."""


class MessageMiddleware(_ForPages, messages.MessageMiddleware):
    """Django's, for pages."""


class CsrfViewMiddleware(_ForPages, csrf.CsrfViewMiddleware):
    """Django's, for pages. The API checks by itself what comes with a cookie (accounts.sessions.cookies)."""

    def process_view(
        self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any
    ) -> HttpResponseForbidden | None:
        """Not called for the API."""
        if _is_of_api(request):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)
