"""Redirects from addresses that people type."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

from api.errors import respond


def redirect_to(address: str) -> Callable[[HttpRequest], HttpResponseBase]:
    """A view that redirects browsers to this address. Methods other than GET and HEAD are 405."""

    def view(request: HttpRequest) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD"}:
            response = respond(request, 405, "method_not_allowed", f"Only GET is answered, by {address}.")
            response["Allow"] = "GET, HEAD"
            return response
        return HttpResponseRedirect(address)

    return view
