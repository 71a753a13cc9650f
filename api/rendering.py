"""JSON by orjson."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from rest_framework.renderers import JSONRenderer

# Times are written as REST framework does.
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME


class OrjsonRenderer(JSONRenderer):
    """REST framework's JSON, several times as fast."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Compact JSON in UTF-8."""
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=self.encoder_class().default, option=_OPTIONS)
        except orjson.JSONEncodeError:
            # A number beyond 64 bits, or a name that is no text.
            return bytes(super().render(data, accepted_media_type, renderer_context))
