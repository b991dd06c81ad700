"""Tables, migrations, transactions and the change feed, on SQLite and on PostgreSQL."""

from everproof.storage.database import metadata
from everproof.storage.storage import Storage
from everproof.storage.writer import Change, Transaction

__all__ = ["Change", "Storage", "Transaction", "metadata"]
