"""The tiles of a sheet as WebVTT, by which players show a picture while somebody scrubs."""

from typing import Any, Final

_HOUR: Final = 3_600_000


def vtt(layout: dict[str, Any], sheet: str, seconds: float | None) -> str:
    """One cue for each tile: its time, and the address of the sheet with the tile's place (Media Fragments
    URI 1.0). The last ends with the video."""
    interval = round(layout["interval"] * 1000)
    count = layout["count"]
    ends = max(round((seconds or 0) * 1000), (count - 1) * interval + 1)
    lines = ["WEBVTT", ""]
    for number in range(count):
        begins = number * interval
        row, column = divmod(number, layout["columns"])
        width, height = layout["width"], layout["height"]
        place = f"#xywh={column * width},{row * height},{width},{height}"
        until = begins + interval if number + 1 < count else ends
        lines += [f"{_time(begins)} --> {_time(until)}", f"{sheet}{place}", ""]
    return "\n".join(lines)


def _time(milliseconds: int) -> str:
    hours, rest = divmod(milliseconds, _HOUR)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
