"""The security schemes in the OpenAPI schema."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from accounts.keys.authentication import ApiKeyAuthentication
from accounts.sessions.cookies import CookieAuthentication
from accounts.sessions.tokens import access_cookie, refresh_cookie


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The two headers of an API key, for the schema."""

    target_class = ApiKeyAuthentication
    name = ["apiKey", "bearer"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        """Either is enough."""
        return [{"apiKey": []}, {"bearer": []}]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {"type": "apiKey", "in": "header", "name": "x-api-key"},
            {"type": "http", "scheme": "bearer"},
        ]


class CookieScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The session's two cookies, for the schema."""

    target_class = CookieAuthentication
    name = ["cookie", "refreshCookie"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        """The refresh token is only for /api/auth/refresh."""
        return [{"cookie": []}]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        said = (
            "Set at log-in. Calls other than GET send `csrfToken` of /api/auth/me as `X-CSRFToken`, and over "
            "https `Origin` or `Referer`, as browsers do."
        )
        return [
            {"type": "apiKey", "in": "cookie", "name": access_cookie(), "description": said},
            {"type": "apiKey", "in": "cookie", "name": refresh_cookie(), "description": said},
        ]
