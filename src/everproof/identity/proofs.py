"""Proofs by an SSH key that somebody else has checked: sshd that let it in, or a signature that holds."""

from datetime import datetime

from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.records import KeyRecord
from everproof.identity.ssh_keys import SshKeyError, SshPublicKey, read_blob
from everproof.kernel.errors import UnauthenticatedError
from everproof.kernel.words import NOTHING, Proof


class Proofs:
    """Says whose a key is: that of someone on record, or the one that a job's tokens are bound to."""

    def __init__(self, directory: Directory, credentials: Credentials) -> None:
        self._directory = directory
        self._credentials = credentials

    def knows_ssh_key(self, public: bytes) -> bool:
        """Whether the key in wire form is anybody's, dead or alive: what it may do is another question."""
        try:
            key = read_blob(public)
        except SshKeyError:
            return False
        return self._directory.key(key.fingerprint) is not None or self._job(key) is not None

    def ssh_key(self, public: bytes, *, kind: str, at: datetime) -> Proof:
        """The proof that the holder of the key made, in the way that ``kind`` names, at ``at``.

        Raises:
            UnauthenticatedError: the key is nobody's, or is not good at ``at``.
        """
        try:
            key = read_blob(public)
        except SshKeyError as error:
            raise UnauthenticatedError(f"the key {error.message}", todo=error.todo) from error
        record = self._directory.key(key.fingerprint)
        if record is not None:
            return self._on_record(key, record, kind, at)
        if (proof := self._job(key)) is None:
            raise UnauthenticatedError(
                f"nobody here has the key {key.fingerprint}",
                todo="enrol it, or in a job exchange the job's token with this key first",
            )
        return Proof(
            kind=kind, principal=proof.principal, at=at, credential=proof.credential, key=proof.key,
            expires=proof.expires, claims={**proof.claims, "ssh_key": key.fingerprint},
        )  # fmt: skip

    def _on_record(self, key: SshPublicKey, record: KeyRecord, kind: str, at: datetime) -> Proof:
        require_good(record, at)
        principal = self._directory.principal(record.principal)
        if principal is None:
            raise UnauthenticatedError(f"{record.principal} is disabled", todo="ask an administrator")
        return Proof(
            kind=kind, principal=principal, at=at, credential=record.credential, key=record.name,
            expires=record.valid_until, claims={"ssh_key": key.fingerprint},
        )  # fmt: skip

    def _job(self, key: SshPublicKey) -> Proof | None:
        name = key.thumbprint
        if name is None or not (self._credentials.is_key_live(name) and self._credentials.is_key_live(key.fingerprint)):
            return None
        found = self._credentials.bound_to(name)
        if found is None or found.proven is None:
            return None
        return Proof(
            kind=found.kind, principal=found.proven, at=found.issued, credential=found.id, key=name,
            expires=found.expires, claims={"stage": found.source["stage"]} if "stage" in found.source else NOTHING,
        )  # fmt: skip


def require_good(key: KeyRecord, at: datetime) -> None:
    """Refuse a key that is revoked, over, or not valid yet.

    Raises:
        UnauthenticatedError: which of these, and since when.
    """
    if key.is_good(at):
        return
    if key.revoked_at is not None:
        todo = "make a new key and have it enrolled"
        raise UnauthenticatedError(f"the key was revoked as {key.revoked_reason}", place=key.name, todo=todo)
    if at < key.valid_from:
        raise UnauthenticatedError(f"the key is not valid before {key.valid_from:%Y-%m-%d %H:%M} UTC", place=key.name)
    raise UnauthenticatedError(
        f"the key expired at {key.valid_until:%Y-%m-%d %H:%M} UTC", place=key.name, todo="have a new one enrolled"
    )
