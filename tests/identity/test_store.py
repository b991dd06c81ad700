from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import everproof.identity  # noqa: F401 - its tables are declared when it is imported
from everproof.storage import Storage, metadata


async def test_migration_makes_the_tables_that_the_room_declares(storage: Storage) -> None:
    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or str(name).startswith(("identity_", "token_"))

    with storage.reading() as connection:
        options = {"compare_type": True, "include_name": ours}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, metadata)
    theirs = [
        one for one in found if isinstance(one, tuple) and one[0] == "add_table" and not ours(one[1].name, "table", ())
    ]
    assert [one for one in found if one not in theirs] == []
