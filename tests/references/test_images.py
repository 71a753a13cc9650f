"""A picture is decoded, cleaned, and fitted; all else is refused before it costs."""

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as some
from PIL import Image, ImageCms

from tests.references.pictures import COLOUR, bomb, chunk, encoded, flat, opened, plain, with_part
from videos.references import images, layout
from videos.references.images import Checked, Fit, check, fit
from videos.references.layout import MAX_SCANS, ImageRefused

KINDS = ["JPEG", "PNG", "WEBP"]
GPS = b"GPS-CANARY"


def reason(data: bytes) -> str:
    with pytest.raises(ImageRefused) as caught:
        check(data)
    assert caught.value.extra == {"reason": caught.value.reason}
    return caught.value.reason


def near(pixel: Any, expected: tuple[int, ...], by: int = 6) -> bool:
    return all(abs(one - other) <= by for one, other in zip(pixel, expected, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture(kind: str) -> None:
    data = flat(kind)
    checked = check(data)
    assert (checked.width, checked.height) == (48, 32)
    assert checked.sha256 == hashlib.sha256(data).hexdigest()
    assert checked.content_type == f"image/{checked.format}"
    found = opened(checked.data)
    assert (found.format or "").lower() == checked.format
    assert (found.mode, found.size) == ("RGB", (48, 32))
    assert near(found.getpixel((5, 5)), COLOUR)
    assert check(checked.data).format == checked.format


def test_what_is_lossless_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(flat("WEBP")).format == "jpeg"
    assert check(flat("WEBP", lossless=True)).format == "png"
    monkeypatch.setattr(images, "_PNG_MAX_PIXELS", 100)
    assert check(flat()).format == "jpeg"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_larger_than_allowed(settings: Any, kind: str) -> None:
    data = flat(kind, (400, 400))
    settings.REFERENCE_MAX_BYTES = len(data) - 1
    assert reason(data) == "too_large"


def test_what_it_becomes_is_not_larger_either(settings: Any) -> None:
    noise = encoded(Image.effect_noise((200, 200), 90).convert("1"))
    settings.REFERENCE_MAX_BYTES = len(noise)
    assert reason(noise) == "too_detailed"
    settings.REFERENCE_MAX_BYTES = 200 * 200 * 4
    assert check(noise).format == "png"


def test_pixels_are_counted_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError

    data = bomb(10_000, 10_000)
    assert len(data) < 20_000
    monkeypatch.setattr(images, "_DECODERS", dict.fromkeys(KINDS, decode))
    assert reason(data) == "too_many_pixels"


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_of_pixels_is_exact(settings: Any, kind: str) -> None:
    for lossless in (False, True):
        data = flat(kind, lossless=lossless)
        settings.REFERENCE_MAX_PIXELS = 48 * 32
        check(data)
        settings.REFERENCE_MAX_PIXELS -= 1
        assert reason(data) == "too_many_pixels"


def test_a_canvas_counts_as_its_frame_does(settings: Any) -> None:
    data = bytearray(flat("WEBP", exif=b"Exif\0\0II*\0"))
    assert data[12:16] == b"VP8X"
    data[24:30] = b"\xff\xff\x00\xff\xff\x00"
    assert reason(bytes(data)) == "too_many_pixels"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><img src=x></html>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        flat("GIF"),
        flat("BMP"),
        flat("TIFF"),
        b" " + flat("PNG"),
        b"RIFF\x04\x00\x00\x00AVI ",
    ],
)
def test_what_is_no_picture_of_the_three_kinds(data: bytes) -> None:
    assert reason(data) == "not_an_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_animated(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert reason(encoded(frames[0], kind, save_all=True, append_images=frames[1:])) == "animated"


def test_a_webp_that_only_says_that_it_is_animated() -> None:
    data = bytearray(flat("WEBP", exif=b"Exif\0\0II*\0"))
    data[20] |= 0x02
    assert reason(bytes(data)) == "animated"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [b"\0", b"PK\x03\x04zip", b"<script>1</script>", b"\xff\xd9", flat("JPEG")])
def test_nothing_follows_a_picture(kind: str, more: bytes) -> None:
    assert reason(flat(kind) + more) == "trailing_data"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_short_anywhere(kind: str) -> None:
    data = plain(kind)
    for length in range(len(data)):
        assert reason(data[:length]) in {"broken", "not_an_image"}


def test_a_damaged_chunk_is_noticed() -> None:
    data = bytearray(plain())
    data[-20] ^= 1
    assert reason(bytes(data)) == "broken"


def test_a_png_whose_pixels_are_missing() -> None:
    data = flat()
    empty = data[:33] + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert reason(empty) == "broken"


@pytest.mark.parametrize("kind", KINDS)
def test_no_metadata_is_left(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = GPS.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = flat(
        kind, exif=exif.tobytes(), icc_profile=profile, **({"comment": GPS} if kind == "JPEG" else {})
    )
    if kind == "PNG":
        data = with_part(data, b"tEXt", b"Comment\0" + GPS)
    assert GPS in data
    clean = check(data).data
    assert GPS not in clean
    found = opened(clean)
    assert not {"exif", "icc_profile", "comment", "Comment", "xmp"} & found.info.keys()
    assert near(found.getpixel((5, 5)), COLOUR)


def test_a_decoder_sees_only_what_it_needs() -> None:
    data = with_part(flat(), b"zTXt", b"x\0\0" + GPS)
    assert GPS not in layout.layout_of(data).needed
    assert GPS not in layout.layout_of(flat("JPEG", comment=GPS)).needed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste((255, 0, 0), (0, 0, 16, 16))
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turned = images._TRANSPOSED.get(orientation)
    stored = upright if turned is None else upright.transpose(back.get(orientation, turned))
    exif = Image.Exif()
    exif[0x0112] = orientation
    checked = check(encoded(stored, kind, exif=exif.tobytes()))
    found = opened(checked.data)
    assert found.size == (checked.width, checked.height) == (48, 32)
    assert near(found.getpixel((4, 4)), (255, 0, 0), 30)
    assert near(found.getpixel((44, 4)), (255, 255, 255), 30)
    assert near(found.getpixel((4, 28)), (255, 255, 255), 30)


@pytest.mark.parametrize(
    "exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"XX*\0" + b"\0" * 40]
)
def test_exif_that_cannot_be_read_turns_nothing(exif: bytes) -> None:
    assert layout.orientation_of(exif) == 1


def test_an_orientation_that_does_not_exist_turns_nothing() -> None:
    assert layout.orientation_of(struct.pack(">2sHIHHHIHH", b"MM", 42, 8, 1, 0x0112, 3, 1, 9, 0)) == 1


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("L", (9, 9), 100), "PNG", (100, 100, 100)),
        (Image.new("1", (9, 9), 1), "PNG", (255, 255, 255)),
        (Image.new("P", (9, 9), 0), "PNG", (0, 0, 0)),
        (Image.new("I;16", (9, 9), 256 * 100), "PNG", (100, 100, 100)),
        (Image.new("LA", (9, 9), (0, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "WEBP", (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 128)), "PNG", (127, 127, 127)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
    ],
)
def test_other_modes_become_rgb(image: Image.Image, kind: str, expected: tuple[int, ...]) -> None:
    found = opened(check(encoded(image, kind)).data)
    assert found.mode == "RGB"
    assert near(found.getpixel((4, 4)), expected)


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    found = opened(check(encoded(Image.new("P", (9, 9), 0), transparency=0)).data)
    assert near(found.getpixel((4, 4)), (255, 255, 255))


def test_a_colour_profile_is_applied_and_a_useless_one_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"nonsense", lab):
        assert near(opened(check(flat("JPEG", icc_profile=profile)).data).getpixel((4, 4)), COLOUR)


def test_a_jpeg_with_too_many_scans() -> None:
    data = plain("JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    assert check(data).format == "jpeg"
    assert reason(data[:start] + scan * (MAX_SCANS + 1) + data[-2:]) == "unusual"


def test_a_jpeg_of_a_rare_kind() -> None:
    assert reason(plain("JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1)) == "unusual"


def test_a_file_of_tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_PARTS", 20)
    many = chunk(b"tEXt", b"") * 20
    assert reason(flat()[:33] + many + flat()[33:]) == "unusual"
    comment = b"\xff\xfe\x00\x02" * 20
    assert reason(b"\xff\xd8" + comment + flat("JPEG")[2:]) == "unusual"


@pytest.mark.parametrize("kind", KINDS)
@trying(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=some.lists(some.tuples(some.integers(0, 2000), some.binary(max_size=6)), min_size=1, max_size=4))
def test_whatever_is_damaged_nothing_else_is_raised(kind: str, cuts: list[tuple[int, bytes]]) -> None:
    data = bytearray(plain(kind, exif=b"Exif\0\0II*\0\x08\0\0\0"))
    for at, put in cuts:
        at %= len(data)
        data[at : at + max(1, len(put))] = put
    try:
        checked = check(bytes(data))
    except ImageRefused:
        return
    assert opened(checked.data).size == (checked.width, checked.height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("how", Fit)
@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (7, 5), (48, 32)])
def test_it_is_fitted_exactly(kind: str, how: Fit, size: tuple[int, int]) -> None:
    found = opened(fit(check(flat(kind)), *size, how))
    assert (found.size, found.format, found.mode) == (size, kind, "RGB")
    assert near(found.getpixel((size[0] // 2, size[1] // 2)), COLOUR)


def split() -> Checked:
    """Three stripes: red, green, blue."""
    image = Image.new("RGB", (300, 100), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 100, 100))
    image.paste((0, 0, 255), (200, 0, 300, 100))
    return check(encoded(image))


def test_how_it_is_fitted() -> None:
    cropped, padded, stretched = (
        opened(fit(split(), 90, 90, how)) for how in (Fit.CROP, Fit.PAD, Fit.STRETCH)
    )
    assert near(cropped.getpixel((5, 45)), (0, 255, 0))
    assert near(padded.getpixel((5, 5)), (0, 0, 0))
    assert near(padded.getpixel((5, 45)), (255, 0, 0))
    assert near(stretched.getpixel((5, 5)), (255, 0, 0))


@pytest.mark.parametrize("how", Fit)
def test_a_very_long_picture(how: Fit) -> None:
    assert opened(fit(check(flat(size=(4000, 1))), 64, 64, how)).size == (64, 64)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_no_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pixel"):
        fit(check(flat()), *size)
