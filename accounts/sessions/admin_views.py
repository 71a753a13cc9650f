"""Log-in to the admin by a link."""

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from accounts.sessions import login_link
from api.errors import respond

_BACKEND = "django.contrib.auth.backends.ModelBackend"


def log_in_by_link(request: HttpRequest) -> HttpResponseBase:
    """Logs in the user of the link and redirects to the admin; 403 if the link is not valid.

    HEAD is refused, so that a tool that only checks the link does not use it up.
    """
    if request.method != "GET":
        return respond(request, 405, "method_not_allowed", "Open the link in a browser.")
    user = login_link.redeem(request.GET.get(login_link.PARAMETER, ""))
    if user is not None:
        login(request, user, backend=_BACKEND)
    elif not (request.user.is_active and request.user.is_staff):
        response: HttpResponseBase = respond(
            request,
            403,
            "login_link_unusable",
            "This link was used, is older than ten minutes, or is not whole. "
            "Make another: `python manage.py login_link USERNAME`, or start `make up` again.",
        )
        response["Cache-Control"] = "no-store"
        return response
    # A browser that opens its own link again is logged in already.
    response = HttpResponseRedirect(reverse("admin:index"))
    response["Cache-Control"] = "no-store"
    return response
