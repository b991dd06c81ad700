"""Who stands as whom at this moment of a commit: by the database, and not by what memory has heard so far."""

from sqlalchemy import Connection

from everproof.identity import store
from everproof.identity.directory import principal_of
from everproof.identity.held_store import is_held
from everproof.kernel.words import Principal, Ref


def standing(connection: Connection, ref: Ref) -> Principal | None:
    """The principal as policy sees it; None if it is not on record, is disabled, or is contained."""
    record = store.find_principal(connection, ref)
    if record is None or record.disabled is not None or is_held(connection, ref):
        return None
    return principal_of(record, {one.id: one for one in store.load_groups(connection)})
