"""The figures of /metrics that outlive a process."""

from django.db import models


class Counter(models.Model):
    """A number that only grows. Each process adds what it has counted since the last time.

    prometheus-client's multiprocess mode is not used: its files are on one machine, and workers may run on
    other machines than the web server that is scraped.
    """

    name = models.CharField(max_length=100)
    # JSON with sorted keys, so that equal labels are equal text.
    labels = models.CharField(max_length=300)
    value = models.FloatField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="counter_once")]

    def __str__(self) -> str:
        return f"{self.name}{self.labels} {self.value}"


class Snapshot(models.Model):
    """The result of counting all rows, and its time. It is one row, so reading it is cheap."""

    figures = models.JSONField(default=dict)
    measured_at = models.DateTimeField(null=True)
    # Seconds that counting took.
    took = models.FloatField(default=0)
    # When the next count is due. The process that moves it counts.
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"of {self.measured_at}"
