"""Removes the API key and prompts from what is logged of an exchange or quoted from an upstream."""

import json
import re
from collections.abc import Iterable, Mapping

from upstreams.client.values import storable

TEXT_MAX_LENGTH = 500
_MAX_DEPTH = 8
# Of anything else only the name is shown: cookies, signatures and the like come under many names.
_SHOWN_HEADERS = re.compile(
    r"(accept|accept-encoding|connection|content-length|content-type|date|openai-[a-z-]+|retry-after"
    r"|retry-after-ms|server|transfer-encoding|user-agent|via|x-ratelimit-[a-z-]+|x-request-id)",
    re.IGNORECASE,
)
# A secret this short may be part of an ordinary word: only the whole word is replaced.
_SHORT = 8


class Redactor:
    """Removes an API key and the texts of one request from a text."""

    def __init__(self, api_key: str, texts: Iterable[str | None] = ()) -> None:
        secrets = {api_key: "<redacted>"} if api_key else {}
        for text in texts:
            for form in _spellings(text or ""):
                secrets.setdefault(form, _hidden(text or ""))
        self._secrets = {
            secret: secrets[secret] for secret in sorted(secrets, key=len, reverse=True) if secret
        }
        self._pattern = re.compile("|".join(map(_pattern, self._secrets))) if self._secrets else None

    def text(self, text: str) -> str:
        """The text without secrets, cut to 500 characters."""
        text = storable(text) or ""
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: self._secrets[match[0]], text)
        return text if len(text) <= TEXT_MAX_LENGTH else f"{text[:TEXT_MAX_LENGTH]}…"

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {
            name: self.text(str(value)) if _SHOWN_HEADERS.fullmatch(name) else "<redacted>"
            for name, value in headers.items()
        }

    def body(self, body: bytes, *, error: bool) -> str:
        """A body for the log. If it is not JSON, it is shown only if it explains an error."""
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            return self.text(body.decode("utf-8", "replace")) if error else f"<{len(body)} bytes>"
        return self.text(json.dumps(self._payload(payload), ensure_ascii=False))

    def _payload(self, payload: object, depth: int = 0) -> object:
        if depth > _MAX_DEPTH:
            return "…"
        match payload:
            case dict():
                return {
                    key: _hidden(value)
                    if "prompt" in key.lower() and isinstance(value, str)
                    else self._payload(value, depth + 1)
                    for key, value in payload.items()
                }
            case list():
                return [self._payload(value, depth + 1) for value in payload]
            case str():
                return self.text(payload)
        return payload


def _hidden(text: str) -> str:
    return f"<redacted, {len(text)} characters>"


def _spellings(text: str) -> set[str]:
    """The text as it is and as JSON writes it."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _pattern(secret: str) -> str:
    escaped = re.escape(secret)
    return escaped if len(secret) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"
