"""The figures of /metrics that outlive a process."""

from django.db import models


class Counter(models.Model):
    """A number that only grows, summed over all processes: each adds what it has counted since the last time.

    Not files of prometheus-client's multiprocess mode: those are of one machine, and workers run on others
    than the web server that is scraped.
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
    """What counting all rows came to, and when. One row: reading it costs the same however many there are."""

    figures = models.JSONField(default=dict)
    measured_at = models.DateTimeField(null=True)
    # Seconds that counting took.
    took = models.FloatField(default=0)
    # When it may be counted anew; who sets it counts.
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"of {self.measured_at}"
