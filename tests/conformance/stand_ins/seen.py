"""What a server got for a picture, in words that a ledger keeps."""

from typing import Any


def seen(image: Any) -> str:
    """The size of a picture of Pillow, and the colour of its middle."""
    colour = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    return f"{image.width}x{image.height} {bytes(colour).hex()}"
