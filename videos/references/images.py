"""Checks a reference picture by decoding it, and fits it to the size of a video."""

import hashlib
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from django.conf import settings
from PIL import Image, ImageCms, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from videos.references.layout import ImageRefused, Layout, layout_of, orientation_of

Format = Literal["jpeg", "png"]

_JPEG_QUALITY: Final = 95
# Twice a frame in 4K. Larger ones become JPEG, because PNG would take several seconds.
_PNG_MAX_PIXELS: Final = 16_777_216
# Profiles of printers have up to 3 MB. A larger one is ignored.
_PROFILE_MAX_BYTES: Final = 4_194_304
_TRANSPOSED: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Not Image.open: it would also try formats of other names, and files of several pictures.
_DECODERS: Final[dict[str, Callable[[io.BytesIO], Image.Image]]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
}
# One picture of 32 megapixels takes about 250 MB, so a process decodes one at a time.
_decoding = threading.Lock()


class Fit(StrEnum):
    """How a picture gets the size of a video."""

    CROP = "crop"
    """It keeps its proportions and fills the frame; what sticks out is cut off on both sides."""
    PAD = "pad"
    """It keeps its proportions and is shown whole, with black bars."""
    STRETCH = "stretch"
    """It is shown whole and fills the frame, so its proportions change."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A picture that can be sent on: upright, RGB, and encoded by us, so that no metadata is left.

    `sha256` is in hex and of the bytes that were checked, not of `data`: it stays the same if a later
    version encodes differently. The other fields describe `data`.
    """

    format: Format
    width: int
    height: int
    sha256: str
    data: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """Its media type."""
        return f"image/{self.format}"


def check(data: bytes) -> Checked:
    """Decodes a JPEG, PNG or WebP picture, whatever it is called. Raises ImageRefused.

    `data` of the result has at most REFERENCE_MAX_BYTES bytes.
    """
    most = settings.REFERENCE_MAX_BYTES
    if len(data) > most:
        raise ImageRefused("too_large", f"The picture has {len(data)} bytes; at most {most} are taken.")
    layout = layout_of(data)
    if layout.width * layout.height > settings.REFERENCE_MAX_PIXELS:
        raise ImageRefused(
            "too_many_pixels",
            f"The picture has {layout.width}x{layout.height} pixels; at most "
            f"{settings.REFERENCE_MAX_PIXELS} are taken. Scale it down.",
        )
    with _decoding:
        image = _decoded(layout)
        lossless = layout.lossless and image.width * image.height <= _PNG_MAX_PIXELS
        kind: Format = "png" if lossless else "jpeg"
        clean = _encoded(image, kind)
        if len(clean) > most and kind == "png":
            kind = "jpeg"
            clean = _encoded(image, kind)
    if len(clean) > most:
        raise ImageRefused("too_detailed", f"Encoded again it has over {most} bytes. Scale it down.")
    return Checked(kind, image.width, image.height, hashlib.sha256(data).hexdigest(), clean)


def fit(checked: Checked, width: int, height: int, how: Fit = Fit.CROP) -> bytes:
    """The picture in exactly this size and in its own format. Raises ValueError for no size."""
    if width < 1 or height < 1:
        raise ValueError("a picture has at least one pixel")
    size = (width, height)
    if (checked.width, checked.height) == size:
        return checked.data
    with _decoding:
        image = _opened(layout_of(checked.data))
        return _encoded(_fitted(image, size, how), checked.format)


def _fitted(image: Image.Image, size: tuple[int, int], how: Fit) -> Image.Image:
    if how is Fit.STRETCH:
        return image.resize(size, Image.Resampling.LANCZOS)
    if how is Fit.CROP:
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    scale = min(size[0] / image.width, size[1] / image.height)
    # A very long picture would otherwise have no pixel across.
    inner = (
        min(size[0], max(1, round(image.width * scale))),
        min(size[1], max(1, round(image.height * scale))),
    )
    frame = Image.new("RGB", size)
    frame.paste(
        image.resize(inner, Image.Resampling.LANCZOS),
        ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2),
    )
    return frame


def _opened(layout: Layout) -> Image.Image:
    image = _DECODERS[layout.format](io.BytesIO(layout.needed))
    # The layout's size was compared with the limit, so memory must be allocated for no other.
    if (image.width, image.height) != (layout.width, layout.height):
        raise ValueError("two readers disagree about the size")
    image.load()
    return image


def _decoded(layout: Layout) -> Image.Image:
    try:
        opened = _opened(layout)
        profile = opened.info.get("icc_profile")
        image = _flat(opened)
        # Of a large picture each copy takes over a hundred megabytes.
        del opened
        image = _in_srgb(image, profile)
        transposed = _TRANSPOSED.get(orientation_of(layout.exif))
        return image if transposed is None else image.transpose(transposed)
    except MemoryError:
        raise
    except Exception as error:
        # A decoder may raise anything.
        raise ImageRefused(
            "broken", "The picture cannot be decoded; save it again as a plain JPEG or PNG."
        ) from error


def _flat(image: Image.Image) -> Image.Image:
    """The picture in 8 bits for each colour, on white if it is transparent. RGB, or CMYK as it is."""
    if image.mode.startswith("I;16"):
        # convert() would cut off all that is brighter than 255.
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.mode in {"RGB", "CMYK"} and "transparency" not in image.info:
        return image
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        is_plain = image.mode == "RGBA" and "transparency" not in image.info
        transparent = image if is_plain else image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(transparent, mask=transparent)
        return flat
    return image.convert("RGB")


def _in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """The picture in RGB, by its colour profile if that can be used."""
    if isinstance(profile, bytes) and len(profile) <= _PROFILE_MAX_BYTES:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            # Colours that are a little off are better than no picture.
            pass
    return image.convert("RGB") if image.mode != "RGB" else image


def _encoded(image: Image.Image, kind: Format) -> bytes:
    # Otherwise the encoders would write the profile and comments that it came with.
    image.info.clear()
    encoded = io.BytesIO()
    if kind == "png":
        image.save(encoded, "PNG", compress_level=3)
    else:
        image.save(encoded, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return encoded.getvalue()
