from django.db import migrations, models

from api.online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("videos", "0013_stored_bytes")]

    operations = [
        AddIndexOnline(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    ("counted", True),
                    ("file_size__gt", 0),
                    ("removed_at__isnull", True),
                    ("status", "completed"),
                    ("stored_bytes", 0),
                ),
                fields=["owner"],
                name="job_unstored",
            ),
        ),
    ]
