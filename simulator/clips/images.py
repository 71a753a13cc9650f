"""Reference images: loads them, and checks whether upstream would accept them."""

import base64
import binascii
import io
from urllib.parse import unquote_to_bytes

import aiohttp

from simulator.catalogue import dimensions
from simulator.http.bodies import Upload
from simulator.http.errors import ApiError, invalid

_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_FETCH_SECONDS = 10
_MAX_FETCH_BYTES = 20 * 1024 * 1024


def check_upload(upload: Upload, param: str) -> bytes:
    """The bytes of a file part that says it is an image; raises ApiError 400."""
    if upload.content_type not in _FORMATS.values():
        raise _unsupported(param, upload.content_type)
    return upload.data


async def fetch(url: str, param: str) -> bytes:
    """The bytes behind a base64 data URL or an http(s) URL; raises ApiError 400."""
    if url.startswith("data:"):
        head, _, data = url.removeprefix("data:").partition(",")
        mimetype, *options = head.split(";")
        if mimetype.lower() not in _FORMATS.values():
            raise _unsupported(param, mimetype)
        try:
            return base64.b64decode(data, validate=True) if "base64" in options else unquote_to_bytes(data)
        except binascii.Error:
            raise invalid(param, "Invalid base64 image_url.") from None
    if not url.startswith(("http://", "https://")):
        raise invalid(param, f"Invalid '{param}': expected a URL or a base64 data URL.")
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            if response.status == 200:
                data_read = await response.content.read(_MAX_FETCH_BYTES + 1)
                while len(data_read) <= _MAX_FETCH_BYTES and not response.content.at_eof():
                    data_read += await response.content.read(_MAX_FETCH_BYTES + 1)
                if len(data_read) <= _MAX_FETCH_BYTES:
                    return data_read
    except (aiohttp.ClientError, TimeoutError, ValueError):
        pass
    raise invalid(param, f"Error while downloading {url[:200]}.", code="invalid_image_url")


def pixels_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG or WebP; None if it is none."""
    # Loaded here, so that a simulator that sees no image does not carry it.
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def check_pixels(data: bytes, size: str, param: str) -> None:
    """Raises ApiError 400 unless `data` is a PNG, JPEG or WebP of exactly `size`."""
    pixels = pixels_of(data)
    if pixels is None:
        raise invalid(param, f"Invalid image in '{param}'.", code="invalid_image")
    if pixels != dimensions(size):
        raise ApiError(400, "Inpaint image must match the requested width and height")


def _unsupported(param: str, mimetype: str) -> ApiError:
    supported = "'image/jpeg', 'image/png', and 'image/webp'"
    return invalid(
        param,
        f"Invalid file '{param}': unsupported mimetype ('{mimetype}')."
        f" Supported file formats are {supported}.",
        code="unsupported_file_mimetype",
    )
