"""The room put together: the people and groups that provisioners keep here."""

from everproof.identity import roster
from everproof.kernel.words import Ref
from everproof.keys import Keyring
from everproof.provisioning.documents import Documents
from everproof.provisioning.people import People
from everproof.provisioning.teams import Teams
from everproof.storage import Transaction


class Provisioning:
    """What provisioners keep here."""

    def __init__(self, keyring: Keyring) -> None:
        self.documents = Documents(keyring)
        self.people = People(self.documents, self._leave)
        self.teams = Teams(self.documents)

    def _leave(self, tx: Transaction, person: Ref, reason: str) -> None:
        roster.disable(tx, person, reason)
