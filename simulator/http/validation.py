"""What a request may ask for: typed values out of its fields, or upstream's refusal."""

from dataclasses import dataclass
from typing import Any

from simulator.catalogue import (
    DEFAULT_MODEL,
    DEFAULT_SECONDS,
    DEFAULT_SIZE,
    MAX_CHARACTERS,
    MAX_IMAGE_URL,
    MAX_NAME,
    MAX_PROMPT,
    MODELS,
    Catalogue,
    quoted,
)
from simulator.http.bodies import Body, Upload
from simulator.http.errors import ApiError, invalid, invalid_type, invalid_value, missing

_PAGE = 20
_MAX_PAGE = 100


@dataclass(frozen=True)
class ImageUrl:
    """A reference image by URL or data URL; `param` names it in errors."""

    url: str
    param: str


def prompt(body: Body) -> str:
    """1 to 32000 characters."""
    text = _text(body, "prompt")
    if text is None:
        raise missing("prompt")
    return _bounded("prompt", text, MAX_PROMPT)


def model(body: Body) -> str:
    """A known model; the default if none is named."""
    name = _text(body, "model")
    if name is None:
        return DEFAULT_MODEL
    if name not in MODELS:
        raise invalid_value("model", name, MODELS)
    return name


def has_model(body: Body) -> bool:
    return body.fields.get("model") is not None


def seconds(body: Body, catalogue: Catalogue, *, required: bool = False) -> int:
    """A string enum in JSON; in a form everything is text."""
    allowed = catalogue.seconds
    value = body.fields.get("seconds")
    if value is None:
        if required:
            raise missing("seconds")
        return int(DEFAULT_SECONDS)
    if not isinstance(value, str):
        raise invalid_type("seconds", f"one of {quoted(allowed, 'or')}", value)
    if value not in allowed:
        raise invalid_value("seconds", value, allowed)
    return int(value)


def size(body: Body, model: str, catalogue: Catalogue) -> str:
    allowed = catalogue.sizes(model)
    value = body.fields.get("size")
    if value is None:
        return DEFAULT_SIZE
    if not isinstance(value, str):
        raise invalid_type("size", f"one of {quoted(allowed, 'or')}", value)
    if value not in allowed:
        raise invalid_value("size", value, allowed)
    return value


def reference(body: Body) -> Upload | ImageUrl | None:
    """The image that becomes the first frame: a file part, or an object with exactly one key."""
    value = body.fields.get("input_reference")
    if value is None or isinstance(value, Upload):
        return value
    if not isinstance(value, dict):
        raise invalid_type("input_reference", "an object" if body.is_json else "a file", value)
    url, file_id = value.get("image_url"), value.get("file_id")
    if (url is None) == (file_id is None):
        raise invalid(
            "input_reference", "Invalid 'input_reference': give exactly one of 'image_url' and 'file_id'."
        )
    if file_id is not None:
        # There is no Files API here, so no file can exist.
        param = "input_reference.file_id"
        if not isinstance(file_id, str):
            raise invalid_type(param, "a string", file_id)
        raise ApiError(404, f"No such File object: {file_id}", param=param)
    param = "input_reference.image_url"
    if not isinstance(url, str):
        raise invalid_type(param, "a string", url)
    return ImageUrl(_bounded(param, url, MAX_IMAGE_URL), param)


def characters(body: Body) -> list[str]:
    """Up to two character ids."""
    value = body.fields.get("characters")
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_type("characters", "an array", value)
    if len(value) > MAX_CHARACTERS:
        raise invalid(
            "characters",
            f"Invalid 'characters': array too long. Expected an array with maximum length {MAX_CHARACTERS},"
            f" but got an array with length {len(value)} instead.",
            code="array_above_max_length",
        )
    ids: list[str] = []
    for position, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid_type(f"characters[{position}]", "an object", item)
        if not isinstance(item.get("id"), str):
            raise missing(f"characters[{position}].id")
        ids.append(item["id"])
    return ids


def source(body: Body) -> str | Upload:
    """The video to edit or to extend: `{id}` or a file."""
    value = body.fields.get("video")
    if value is None:
        raise missing("video")
    if isinstance(value, Upload):
        return value
    if not isinstance(value, dict):
        raise invalid_type("video", "an object" if body.is_json else "a file", value)
    if not isinstance(value.get("id"), str):
        raise missing("video.id")
    return str(value["id"])


def character_clip(body: Body) -> Upload:
    """The clip that shows a character."""
    value = body.fields.get("video")
    if value is None:
        raise missing("video")
    if not isinstance(value, Upload):
        raise invalid_type("video", "a file", value)
    return value


def character_name(body: Body) -> str:
    """1 to 80 characters."""
    name = _text(body, "name")
    if name is None:
        raise missing("name")
    return _bounded("name", name, MAX_NAME)


def limit(text: str | None) -> int:
    """The length of a list's page, from 0 to 100; upstream's default is unknown, imitators take 20."""
    if text is None:
        return _PAGE
    if not text.isascii() or not text.isdigit():
        raise invalid(
            "limit", f"Invalid type for 'limit': expected an integer, but got '{text[:80]}'.", "invalid_type"
        )
    number = int(text[:9])
    if number > _MAX_PAGE:
        message = f"Invalid 'limit': integer above maximum value. Expected a value <= {_MAX_PAGE}."
        raise invalid("limit", message, "integer_above_max_value")
    return number


def _text(body: Body, name: str) -> str | None:
    value: Any = body.fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise invalid_type(name, "a string", value)


def _bounded(param: str, text: str, most: int) -> str:
    if not text:
        raise invalid(
            param,
            f"Invalid '{param}': empty string. Expected a string with minimum length 1,"
            " but got an empty string instead.",
            code="empty_string",
        )
    if len(text) > most:
        raise invalid(
            param,
            f"Invalid '{param}': string too long. Expected a string with maximum length {most},"
            f" but got a string with length {len(text)} instead.",
            code="string_above_max_length",
        )
    return text
