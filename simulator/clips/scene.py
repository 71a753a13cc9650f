"""What a clip shows: the prompt as text over moving shapes, coloured and paced by prompt and id."""

import colorsys
import hashlib
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

Colour = tuple[int, int, int]
_MAX_LINES = 8


@dataclass(frozen=True)
class _Shape:
    sides: int  # 0 is a circle
    radius: float
    colour: Colour
    speeds: tuple[float, float]
    phases: tuple[float, float]
    spin: float


class Scene:
    """Draws frames of `width` x `height`; the same prompt and id always give the same frames."""

    def __init__(self, prompt: str, video_id: str, width: int, height: int) -> None:
        seed = hashlib.sha256(f"{prompt}\0{video_id}".encode()).digest()
        chance = random.Random(seed)
        self._width, self._height = width, height
        hue = chance.random()
        self._ink = _colour(hue, 0.25, 1.0)
        tilted = Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270)))
        self._backdrop = ImageOps.colorize(
            tilted.resize((width, height)),
            _colour(hue, 0.75, 0.18),
            _colour(hue + chance.uniform(0.08, 0.25), 0.65, 0.55),
        )
        least = min(width, height)
        self._shapes = [
            _Shape(
                sides=chance.choice((0, 0, 3, 4, 6)),
                radius=least * chance.uniform(0.06, 0.16),
                colour=_colour(hue + chance.uniform(0.3, 0.7), chance.uniform(0.5, 0.9), 0.95),
                speeds=(chance.uniform(0.5, 1.6), chance.uniform(0.5, 1.6)),
                phases=(chance.uniform(0, math.tau), chance.uniform(0, math.tau)),
                spin=chance.uniform(-2, 2),
            )
            for _ in range(chance.randint(4, 6))
        ]
        self._caption, self._caption_at = self._captioned(prompt)

    def frame(self, seconds: float, share: float) -> Image.Image:
        """The picture at a time; `share` of the clip is over by then, which a bar at the foot shows."""
        image = self._backdrop.copy()
        draw = ImageDraw.Draw(image)
        for shape in self._shapes:
            x = self._width * (0.5 + 0.42 * math.sin(shape.speeds[0] * seconds + shape.phases[0]))
            y = self._height * (0.5 + 0.42 * math.sin(shape.speeds[1] * seconds + shape.phases[1]))
            if shape.sides:
                turn = math.degrees(shape.spin * seconds)
                draw.regular_polygon((x, y, shape.radius), shape.sides, rotation=turn, fill=shape.colour)
            else:
                draw.circle((x, y), shape.radius, fill=shape.colour)
        image.paste(self._caption, self._caption_at, self._caption)
        bar = max(2, self._height // 120)
        draw.rectangle((0, self._height - bar, round(self._width * share), self._height), fill=self._ink)
        return image

    def _captioned(self, prompt: str) -> tuple[Image.Image, tuple[int, int]]:
        font = ImageFont.load_default(size=max(8, min(self._width, self._height) // 16))
        pad = max(2, min(self._width, self._height) // 40)
        text = "\n".join(_wrapped(" ".join(prompt[:2000].split()), font, self._width - 6 * pad))
        measure = ImageDraw.Draw(self._backdrop)
        left, top, right, bottom = measure.multiline_textbbox((0, 0), text, font=font, spacing=pad // 2)
        size = (math.ceil(right - left) + 2 * pad, math.ceil(bottom - top) + 2 * pad)
        caption = Image.new("RGBA", size, (0, 0, 0, 150))
        draw = ImageDraw.Draw(caption)
        draw.multiline_text((pad - left, pad - top), text, font=font, fill=self._ink, spacing=pad // 2)
        return caption, ((self._width - size[0]) // 2, (self._height - size[1]) // 2)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """Lines that fit, the last one cut with an ellipsis if there is too much."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        # A word longer than a line is broken.
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
        if len(lines) > _MAX_LINES:
            return [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1].rstrip(" .,") + "..."]
    return lines


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
