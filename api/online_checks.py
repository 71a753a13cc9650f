"""Adding a check constraint while everybody writes."""

from typing import Any

from django.db import transaction
from django.db.migrations.operations import AddConstraint


class AddCheckOnline(AddConstraint):
    """Adds a check constraint without a long lock. Its migration needs `atomic = False`.

    PostgreSQL holds new rows to it at once, and then looks at the old ones while others write.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """On SQLite, which makes the table anew for it, all or nothing."""
        if schema_editor.connection.vendor != "postgresql":
            with transaction.atomic(using=schema_editor.connection.alias):
                super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        table, name = map(schema_editor.quote_name, (model._meta.db_table, self.constraint.name))
        # Of an interrupted try before.
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        schema_editor.execute(f"{self.constraint.create_sql(model, schema_editor)} NOT VALID", params=None)
        schema_editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
