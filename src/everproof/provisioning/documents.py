"""What provisioners said, sealed: a person's under the person's own key, so that erasing them erases it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from everproof.kernel.canonical import encode
from everproof.kernel.clock import from_milliseconds
from everproof.kernel.errors import InputError, NotFoundError
from everproof.kernel.words import MAIN_SPACE, Ref
from everproof.keys import Keyring
from everproof.keys.keyring import ErasedError
from everproof.provisioning import store
from everproof.provisioning.records import Provisioned
from everproof.storage import Transaction

MAX_BYTES: Final = 65_536
"""Of one description: the largest honest one, with certificates and photographs' addresses, is below it."""
_CONTEXT: Final = "provisioning/document:"


class Documents:
    """Seals and opens them."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sealed(self, tx: Transaction, ref: Ref, id_: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that keep ``document``.

        Raises:
            InputError: it is too long.
        """
        body = encode(document)
        if len(body) > MAX_BYTES:
            raise InputError(f"more than {MAX_BYTES} bytes are said of it", place="body")
        about = ref if ref.type == "User" else MAIN_SPACE
        sealed = self._keyring.seal(tx, about, body, context=(_CONTEXT + id_).encode())
        return {"key_id": sealed.key_id, "sealed": sealed.data}

    def opened(self, row: store.Stored) -> Provisioned:
        """What a row is. Of somebody who was erased, nothing is said but the name."""
        try:
            document = msgspec.json.decode(
                self._keyring.open(row.key_id, row.sealed, context=(_CONTEXT + row.id).encode())
            )
        except ErasedError:
            document = {}
        return Provisioned(
            id=row.id, provisioner=row.provisioner, what=row.what, name=row.name, external_id=row.external,
            ref=Ref(row.what, row.record), version=row.version, created=from_milliseconds(row.created),
            changed=from_milliseconds(row.changed), document=document,
        )  # fmt: skip

    def all_opened(self, rows: Iterable[store.Stored]) -> list[Provisioned]:
        """What each row is."""
        return [self.opened(row) for row in rows]

    def found(self, connection: Connection, provisioner: str, id_: str) -> Provisioned:
        """One of a provisioner's.

        Raises:
            NotFoundError: there is none of this id, or it is another's.
        """
        row = store.find_resource(connection, provisioner, id_)
        if row is None:
            raise NotFoundError(f"there is nothing with the id {id_}", place="id")
        return self.opened(row)
