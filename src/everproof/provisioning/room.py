"""The room put together: the movements of people, and the people and groups that provisioners keep here."""

from sqlalchemy import Connection

from everproof.kernel.words import Ref
from everproof.keys import Keyring
from everproof.provisioning import store
from everproof.provisioning.documents import Documents
from everproof.provisioning.lifecycle import Lifecycle
from everproof.provisioning.people import People
from everproof.provisioning.teams import Teams
from everproof.storage import Storage
from everproof.work import Work


class Provisioning:
    """What provisioners keep here."""

    def __init__(self, storage: Storage, keyring: Keyring, work: Work) -> None:
        self.documents = Documents(keyring)
        self.lifecycle = Lifecycle(storage, work)
        self.people = People(self.documents, self.lifecycle)
        self.teams = Teams(self.documents)

    @staticmethod
    def known_as(connection: Connection, provisioner: str, external_id: str) -> Ref | None:
        """Whom a provisioner calls ``external_id``, to the letter: how an account at a provider is a person's here."""
        row = next(iter(store.find_resources(connection, provisioner, "User", external=external_id)), None)
        return None if row is None else Ref("User", row.record)
