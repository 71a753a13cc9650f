"""What is kept of finished videos, and where."""

from typing import Final

from django.db import models

from videos.states import JobStatus


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
    # As ZIP files have it.
    crc32 = models.BigIntegerField(null=True)
    # FFmpeg's name of it, such as h264.
    codec = models.CharField(max_length=40, blank=True, default="", db_default="")
    # Frames per second.
    result_fps = models.FloatField(null=True)
    # Whether it has sound.
    result_audio = models.BooleanField(null=True)

    # How long its files are kept after its completion, in seconds, if that was asked for.
    # No PositiveIntegerField: PostgreSQL would read the whole table for its check when the column is added.
    retain_for = models.IntegerField(null=True)
    # When they are removed therefore; null if only RESULT_RETENTION_DAYS says when.
    remove_at = models.DateTimeField(null=True)
    # When they were removed. Their names stay.
    removed_at = models.DateTimeField(null=True)
    # How many bytes of it are in its owner's sum (videos.usage.stored).
    stored_bytes = models.BigIntegerField(default=0, db_default=0)
    # An operator keeps them, whoever asks for their removal.
    on_hold = models.BooleanField(default=False, db_default=False)

    class Meta:
        abstract = True
        indexes = [
            # Whose files are to be removed: those with a time of their own, and the others.
            models.Index(
                fields=["remove_at"],
                condition=models.Q(remove_at__isnull=False, removed_at__isnull=True),
                name="job_remove_at",
            ),
            models.Index(
                fields=["completed_at"],
                condition=models.Q(
                    completed_at__isnull=False, remove_at__isnull=True, removed_at__isnull=True
                ),
                name="job_kept_since",
            ),
            # Those that were kept before there were such sums, which is none in the end.
            models.Index(
                fields=["owner"],
                condition=models.Q(
                    status=JobStatus.COMPLETED,
                    removed_at__isnull=True,
                    counted=True,
                    stored_bytes=0,
                    file_size__gt=0,
                ),
                name="job_unstored",
            ),
        ]


class Preview(models.Model):
    """Small pictures of a finished video, made here after its job was completed."""

    # The fields that are files.
    FILES: Final = ("poster", "poster_webp", "spritesheet", "animation")

    # Without a constraint, because a version before this table would otherwise not be able to remove a job.
    job = models.OneToOneField(
        "videos.Job", models.CASCADE, primary_key=True, related_name="preview", db_constraint=False
    )
    # When they are tried next; null if they are made, or cannot be.
    due_at = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(default=0)
    poster = models.FileField(max_length=255, blank=True)
    # The same picture in fewer bytes. The database has the default as well, for rows of a version without it.
    poster_webp = models.FileField(max_length=255, blank=True, default="", db_default="")
    spritesheet = models.FileField(max_length=255, blank=True)
    # A few seconds, which move.
    animation = models.FileField(max_length=255, blank=True)
    # Of the sheet: videos.previews.frames.Layout as JSON.
    layout = models.JSONField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="preview_due")
        ]

    def __str__(self) -> str:
        return f"previews of {self.job_id}"

    def names(self) -> list[str]:
        """Of its files in the media."""
        return [str(file.name) for name in self.FILES if (file := getattr(self, name))]


class MediaFolder(models.Model):
    """The folder of the results, known by the id in its marker file."""

    identity = models.UUIDField()
    accepted_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="media_folder_only_one")]

    def __str__(self) -> str:
        return str(self.identity)
