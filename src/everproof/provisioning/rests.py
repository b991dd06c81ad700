"""What stays a leaver's own, and proves nobody while they are out: said beforehand, so that nobody looks for it."""

from sqlalchemy import Connection

from everproof.identity import store as identities
from everproof.identity.factors import store as factors
from everproof.kernel.words import Ref
from everproof.storage import Transaction


class RestingKeys:
    """The keys of somebody that are good. The key of whoever is disabled proves nobody."""

    does = "keys that prove nobody meanwhile"

    def count(self, connection: Connection, person: Ref) -> int:
        """How many there are."""
        return sum(1 for one in identities.keys_of(connection, person) if one.revoked_at is None)

    def end(self, tx: Transaction, person: Ref) -> int:
        """Nothing is to be done: they rest as long as their person does."""
        return self.count(tx.connection, person)


class RestingFactors:
    """The factors of somebody: passkeys and the like."""

    does = "factors that prove nobody meanwhile"

    def count(self, connection: Connection, person: Ref) -> int:
        """How many there are."""
        return sum(1 for one in factors.of_person(connection, person) if one.factor.state == "live")

    def end(self, tx: Transaction, person: Ref) -> int:
        """Nothing is to be done: they rest as long as their person does."""
        return self.count(tx.connection, person)
