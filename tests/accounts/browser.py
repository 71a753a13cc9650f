"""A person's browser: it keeps cookies, and sends the CSRF token with what changes something."""

import json
from typing import Any

from django.test import Client

AUTH = "/api/auth"
PASSWORD = "a paper boat at dusk"
ACCESS, REFRESH, CSRF = "takeone-access", "takeone-refresh", "csrftoken"


class Browser:
    """A client before the service, whose CSRF checks are on; `headers` go with every request."""

    def __init__(self, **headers: str) -> None:
        self.client = Client(enforce_csrf_checks=True, headers=headers)
        self.https = False

    def get(self, address: str, **headers: str) -> Any:
        return self.client.get(address, headers=headers, secure=self.https)

    def send(self, method: str, address: str, body: Any = None, *, csrf: bool = True, **headers: str) -> Any:
        """Sends JSON, with the CSRF token of the cookie where there is one."""
        if csrf and CSRF in self.client.cookies:
            headers.setdefault("x-csrftoken", self.client.cookies[CSRF].value)
        raw = "" if body is None else json.dumps(body)
        return self.client.generic(
            method, address, raw, "application/json", secure=self.https, headers=headers
        )

    def post(self, address: str, body: Any = None, **more: Any) -> Any:
        return self.send("POST", address, body, **more)

    def register(self, username: str = "ada", password: str = PASSWORD, **more: Any) -> Any:
        return self.post(f"{AUTH}/register", {"username": username, "password": password, **more})

    def log_in(self, username: str = "ada", password: str = PASSWORD, **headers: str) -> Any:
        return self.post(f"{AUTH}/login", {"username": username, "password": password}, **headers)

    def cookie(self, name: str) -> str:
        return self.client.cookies[name].value

    def keep(self, name: str, value: str) -> None:
        """Has the browser send this value."""
        self.client.cookies[name] = value

    def status(self) -> int:
        """What /api/auth/me answers."""
        return int(self.get(f"{AUTH}/me").status_code)
