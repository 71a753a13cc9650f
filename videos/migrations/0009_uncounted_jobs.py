from django.db import migrations, models

from api.online_checks import AddCheckOnline
from api.online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("videos", "0008_usage_counts")]

    operations = [
        AddIndexOnline(
            model_name="job",
            index=models.Index(
                condition=models.Q(("counted", False)),
                fields=["status", "owner", "created_at"],
                name="job_uncounted",
            ),
        ),
        AddCheckOnline(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("counted", False),
                    models.Q(("status__in", ["pending", "processing"]), _negated=True),
                    _connector="OR",
                ),
                name="job_counted_has_ended",
            ),
        ),
    ]
