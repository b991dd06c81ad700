"""Tables, migrations, transactions and the change feed, on SQLite and on PostgreSQL."""

from everproof.storage.database import metadata
from everproof.storage.duties import forget_feed, take_duty
from everproof.storage.feed import StaleError
from everproof.storage.storage import Storage
from everproof.storage.writer import Change, Transaction

__all__ = ["Change", "StaleError", "Storage", "Transaction", "forget_feed", "metadata", "take_duty"]
