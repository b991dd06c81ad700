from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import everproof.access  # noqa: F401 - its tables are declared when it is imported
from everproof.storage import Storage, metadata


async def test_migration_makes_the_tables_that_the_room_declares(storage: Storage) -> None:
    def ours(item: Any, name: str | None, kind: str, *_: object) -> bool:
        return str(name if kind == "table" else item.table.name).startswith("access_")

    with storage.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": ours})
        assert compare_metadata(context, metadata) == []
