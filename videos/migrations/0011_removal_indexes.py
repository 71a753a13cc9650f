from django.db import migrations, models

from api.online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("videos", "0010_result_measures")]

    operations = [
        AddIndexOnline(
            model_name="job",
            index=models.Index(
                condition=models.Q(("remove_at__isnull", False), ("removed_at__isnull", True)),
                fields=["remove_at"],
                name="job_remove_at",
            ),
        ),
        AddIndexOnline(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    ("completed_at__isnull", False),
                    ("remove_at__isnull", True),
                    ("removed_at__isnull", True),
                ),
                fields=["completed_at"],
                name="job_kept_since",
            ),
        ),
    ]
