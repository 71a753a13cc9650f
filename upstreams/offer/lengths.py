"""The length of a video, fitted to those that the upstream renders."""

from math import ceil

from upstreams.offer.adjustments import Adjustments
from upstreams.offer.catalogue import AnyLength
from upstreams.offer.request import VideoRequest


def fit_seconds(asked: VideoRequest, offered: tuple[str, ...] | AnyLength, adjustments: Adjustments) -> str:
    """The nearest length, in seconds as the wire spells it. With none asked for, the usual."""
    if isinstance(offered, AnyLength):
        return _any_length(asked.duration, offered, adjustments)
    if asked.duration is None:
        return min(offered, key=float)
    wanted = asked.duration
    # Of two that are equally near, the longer: what was asked for then fits into it.
    seconds = min(offered, key=lambda each: (abs(float(each) - wanted), -float(each)))
    if float(seconds) != wanted:
        used = int(seconds) if seconds.isdecimal() else float(seconds)
        adjustments.note("duration", wanted, used, "this upstream does not render that length", offered)
    return seconds


def _any_length(wanted: float | None, offered: AnyLength, adjustments: Adjustments) -> str:
    if wanted is None:
        return str(offered.usual)
    seconds = min(max(ceil(wanted), offered.least), offered.most)
    if seconds != wanted:
        allowed = [f"whole numbers from {offered.least} to {offered.most}"]
        adjustments.note("duration", wanted, seconds, "this upstream does not render that length", allowed)
    return str(seconds)
