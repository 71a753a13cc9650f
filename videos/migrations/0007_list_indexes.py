from django.db import migrations, models

from api.online_indexes import AddIndexOnline, RemoveIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("videos", "0006_reference_images")]

    operations = [
        AddIndexOnline(
            model_name="job",
            index=models.Index(fields=["owner", "-created_at", "-id"], name="job_owner_newest"),
        ),
        AddIndexOnline(
            model_name="job",
            index=models.Index(
                fields=["owner", "status", "priority", "-created_at", "-id"], name="job_owner_kind_newest"
            ),
        ),
        RemoveIndexOnline(model_name="job", name="job_owner_list"),
        RemoveIndexOnline(model_name="job", name="job_owner_status_list"),
    ]
