"""People and machines to put on record, and times to speak of."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from everproof.identity import Credential, roster
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction
from tests.identity.ssh import Key

SERVER = "https://everproof.example"
ALICE = Ref("User", "alice")
BOB = Ref("User", "bob")

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


async def enrolled(storage: Storage, ref: Ref, line: str = "", **window: Any) -> Ref:
    """``ref`` on record, with the key of ``line`` if there is one."""

    def change(tx: Transaction) -> None:
        roster.add_principal(tx, ref, name=ref.id.title(), emails=[f"{ref.id}@x.test"], groups=["developers"])
        if line:
            roster.add_ssh_key(tx, ref, line, **window)

    await storage.write(change)
    return ref


def credential(tx: Transaction, parent: str | None = None, **changes: Any) -> Credential:
    """A credential of alice's for ten minutes."""
    given = {
        "id": new_id("cred"), "parent": parent, "kind": "access-token", "principal": ALICE, "key": None,
        "issued": tx.now, "expires": tx.now + 10 * MINUTE, "audience": SERVER,
    }  # fmt: skip
    return Credential(**given | changes)


def keys(folder: Path, *names: str) -> list[Key]:
    """SSH keys in ``folder``."""
    return [Key(folder, name) for name in names]
