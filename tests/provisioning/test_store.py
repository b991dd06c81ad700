"""The tables are what the migration makes."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from everproof.provisioning import store
from everproof.storage import Storage, metadata


async def test_migration_makes_the_tables(storage: Storage) -> None:
    with storage.reading() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    own = {store.resources.name, store.members.name}
    assert [one for one in differences if any(name in repr(one) for name in own)] == []
