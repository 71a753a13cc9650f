"""The part of a job that tells of its finished video."""

from django.db import models


class Result(models.Model):
    """The files that are kept of a video, and what is in the video itself, as measured there.

    Where the fields of the second part are empty, the file was kept by a version that did not measure them.
    """

    video = models.FileField(max_length=255, blank=True)
    thumbnail = models.FileField(max_length=255, blank=True)
    # How long its picture is.
    result_seconds = models.FloatField(null=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    format = models.CharField(max_length=10, blank=True)
    file_size = models.PositiveBigIntegerField(null=True)

    # In hexadecimal digits.
    sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # FFmpeg's name of it, such as h264.
    codec = models.CharField(max_length=40, blank=True, default="", db_default="")
    # Frames per second.
    result_fps = models.FloatField(null=True)
    # Whether it has sound.
    result_audio = models.BooleanField(null=True)

    class Meta:
        abstract = True
