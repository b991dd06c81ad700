"""A server's state folder, looked into from outside: read-only, offline, beside a server that may run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from everproof.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from everproof.kernel.settings import Settings
    from everproof.keys import Keyring
    from everproof.ledger import LedgerView, Verifier
    from everproof.storage import Storage

State = Annotated[
    Path | None,
    typer.Option(
        help="The server's state folder [default: EVERPROOF_STATE, or ~/.local/state/everproof].", show_default=False
    ),
]


class LedgerFolder(NamedTuple):
    """The ledger of a state folder. ``log`` is the public key that its checkpoints are signed with.

    ``witness`` is the one that other logs' checkpoints are cosigned with, where any are.
    """

    settings: "Settings"
    storage: "Storage"
    keyring: "Keyring"
    view: "LedgerView"
    log: "Verifier"
    witness: "Verifier | None"


def has_database(settings: "Settings") -> bool:
    """Whether a server was ever started there."""
    return bool(settings.database) or (settings.state / "everproof.db").is_file()


def existing(state: Path | None) -> "Settings":
    """The settings of a folder that a server was started in.

    Raises:
        NotFoundError: none was.
    """
    from everproof.kernel.settings import load_settings

    settings = load_settings(state)
    if not has_database(settings):
        todo = "name its folder with --state, or start one here with: everproof up"
        raise NotFoundError("no server was ever started in this folder", place=str(settings.state), todo=todo)
    return settings


@contextmanager
def open_ledger(state: Path | None) -> Iterator[LedgerFolder]:
    """The ledger in the state folder, to read.

    Raises:
        NotFoundError: there is none.
        RootKeyError: the root key is not the one that the database was sealed under.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from everproof.keys import Keyring, SigningKeys, open_root_key
    from everproof.ledger import LedgerView, store
    from everproof.ledger.note import COSIGNATURE_V1, make_verifier
    from everproof.ledger.witness import witness_key
    from everproof.storage import Storage

    settings = existing(state)
    storage = Storage.open_read_only(settings.database_url)
    try:
        keyring = Keyring(storage, open_root_key(settings.root_key, settings.state))
        with storage.reading() as connection:
            _, origin = store.read_head(connection)
        if not origin:
            todo = "start the server once: everproof up"
            raise NotFoundError("this ledger has never recorded anything", place=str(settings.state), todo=todo)
        private = SigningKeys(storage, keyring).current("Ed25519").private
        assert isinstance(private, Ed25519PrivateKey)
        log = make_verifier(origin, private.public_key())
        witness = None
        if settings.witness is not None:
            name = settings.witness.name
            witness = make_verifier(name, witness_key(private, name).public_key(), COSIGNATURE_V1)
        yield LedgerFolder(settings, storage, keyring, LedgerView(storage, keyring), log, witness)
    finally:
        storage.close()
