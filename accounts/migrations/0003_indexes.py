from django.db import migrations, models

from api.online_indexes import AddIndexOnline, RemoveIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("accounts", "0002_counting")]

    operations = [
        AddIndexOnline(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("counting", "counted"), _negated=True),
                fields=["owner", "id"],
                name="reservation_uncounted",
            ),
        ),
        AddIndexOnline(
            model_name="idempotencykey",
            index=models.Index(fields=["created_at"], name="idempotency_key_age"),
        ),
        RemoveIndexOnline(model_name="idempotencykey", name="idempotency_key_expired"),
    ]
