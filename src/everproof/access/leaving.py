"""What ends of somebody's access in the commit in which they leave: requests that wait. Grants end as credentials do.

What they have approved counts no more by itself: who approves is looked at again when a request is granted.
"""

from typing import Final

from sqlalchemy import Connection

from everproof.access import store
from everproof.access.grants import Grants
from everproof.kernel.words import Ref
from everproof.storage import Transaction

MOST: Final = 1_000
"""A person's requests that are looked through, the newest first: those that wait are bounded far below it."""


class WaitingRequests:
    """The requests of somebody that nobody has answered."""

    does = "requests for access that wait"

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    def count(self, connection: Connection, person: Ref) -> int:
        """How many there are."""
        return len(self._waiting(connection, person))

    def end(self, tx: Transaction, person: Ref) -> int:
        """Take them back; how many there were."""
        waiting = self._waiting(tx.connection, person)
        for id_ in waiting:
            store.close(tx, id_, "cancelled", by=None, message="whoever asked has left")
            self._grants.record(tx, "cancelled", person, request=id_)
        return len(waiting)

    @staticmethod
    def _waiting(connection: Connection, person: Ref) -> list[str]:
        found = store.list_requests(connection, before="", requester=person.id, action="", limit=MOST)
        return [one.body.id for one in found if one.state == "requested"]
