"""The format in which figures are requested, and whether money may be shown."""

import hmac
from typing import Final, Literal

from django.conf import settings
from django.http import HttpRequest
from django.http.request import MediaType
from rest_framework.exceptions import APIException, ValidationError

Form = Literal["json", "prometheus"]
# Anybody may send 64 KB of them, and each range of types takes time. Scrapers send a tenth of this.
_ACCEPT_MAX_LENGTH: Final = 2_000
_JSON: Final = "application/json"
_PROMETHEUS: Final = ("text/plain", "application/openmetrics-text")


class WrongToken(APIException):
    """401: a token that is not METRICS_TOKEN."""

    status_code = 401
    default_code = "unauthorized"
    default_detail = "This is not METRICS_TOKEN. Send that as a bearer, or no Authorization at all."


def form_of(request: HttpRequest) -> Form:
    """The format that `?format=` names, else the one that the Accept header prefers; JSON by default."""
    if len(request.GET.getlist("format")) > 1:
        raise ValidationError({"format": "It is there more than once; which one is meant?"})
    asked = request.GET.get("format", "")
    if asked == "json":
        return "json"
    if asked == "prometheus":
        return "prometheus"
    if asked:
        raise ValidationError({"format": f"It is json or prometheus, not {asked[:50]!r}."})
    text = max(_quality(request, each) for each in _PROMETHEUS)
    return "prometheus" if text > _quality(request, _JSON) else "json"


def accepted(request: HttpRequest) -> str:
    """The Accept header; no more than its beginning, if it is very long."""
    return request.headers.get("Accept", "*/*")[:_ACCEPT_MAX_LENGTH]


def _quality(request: HttpRequest, wanted: str) -> float:
    """The client's preference for this type: the q of the most specific range that matches it."""
    best = (-1, 0.0)
    for each in accepted(request).split(","):
        media = MediaType(each.strip())
        main, _, sub = wanted.partition("/")
        if (media.main_type, media.sub_type) in {(main, sub), (main, "*"), ("*", "*")}:
            try:
                quality = float(media.params.get("q", 1))
            except ValueError:
                quality = 1.0
            best = max(best, ((media.main_type != "*") + (media.sub_type != "*"), quality))
    return best[1]


def may_see_money(request: HttpRequest) -> bool:
    """Whether the caller sends METRICS_TOKEN as a bearer token. Another token is refused, not ignored."""
    given = request.headers.get("Authorization", "")
    if not settings.METRICS_TOKEN or not given:
        return False
    scheme, _, token = given.partition(" ")
    right = hmac.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode())
    if scheme.lower() != "bearer" or not right:
        raise WrongToken
    return True
