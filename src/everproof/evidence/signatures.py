"""Whose signature a commit or tag bears, and what was known of the key when it reached us.

The time that counts is ours: a committer date is the committer's choice, and back-dating one would bring an expired key
back to life. The keys that count are the directory's: a list of signers that lies in a repository is the pusher's
choice.
"""

from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from everproof.evidence.objects import Signature
from everproof.identity import SshKey, sshsig
from everproof.kernel.errors import Error
from everproof.kernel.words import Principal, Ref

NAMESPACE: Final = "git"
"""What git signs for; a signature that was made for anything else is not one of a commit (PROTOCOL.sshsig)."""

Standing = Literal[
    "good", "unsigned", "unsupported", "malformed", "bad", "unknown", "expired", "not_yet_valid", "revoked"
]


class Directory(Protocol):
    """What is asked of the directory."""

    def ssh_key(self, fingerprint: str) -> SshKey | None:
        """The key on record, dead ones too."""
        ...

    def principal(self, ref: Ref) -> Principal | None:
        """Who it belongs to."""
        ...


class Verdict(msgspec.Struct, frozen=True):
    """What a signature is worth; ``why`` completes the sentence "it ...". ``signer`` is known if the key is."""

    standing: Standing
    why: str = ""
    fingerprint: str | None = None
    signer: Principal | None = None


def verify(signature: Signature | None, directory: Directory, at: datetime) -> Verdict:
    """What ``signature`` is worth to someone who receives it at ``at``."""
    if signature is None:
        return Verdict("unsigned", "is not signed")
    if signature.kind != "ssh":
        kind = {"openpgp": "an OpenPGP", "x509": "an X.509", "unknown": "an unknown kind of"}[signature.kind]
        return Verdict("unsupported", f"bears {kind} signature, and only SSH signatures are verified here")
    try:
        signed = sshsig.verify(signature.armour, signature.payload, namespace=NAMESPACE)
    except Error as error:
        return Verdict("bad", f"bears a signature that does not hold: {error.message}")
    return standing_of(signed.fingerprint, directory, at)


def standing_of(fingerprint: str, directory: Directory, at: datetime) -> Verdict:
    """What the key ``fingerprint``, whose possession was shown, is worth at ``at``."""
    key = directory.ssh_key(fingerprint)
    signer = directory.principal(key.principal) if key is not None else None
    if key is None:
        return Verdict("unknown", f"is signed with {fingerprint}, a key that nobody here has", fingerprint)
    if signer is None:
        return Verdict("unknown", f"is signed with a key of {key.principal.id}, who is disabled", fingerprint)
    name = f"{signer.ref.id}'s key {fingerprint}"

    def verdict(standing: Standing, why: str) -> Verdict:
        return Verdict(standing, why, fingerprint, signer)

    if key.revoked_at is not None and (key.revoked_reason == "compromised" or at >= key.revoked_at):
        reason = f" as {key.revoked_reason}" if key.revoked_reason else ""
        return verdict("revoked", f"is signed with {name}, revoked{reason} at {_time(key.revoked_at)}")
    if at < key.valid_from:
        return verdict("not_yet_valid", f"is signed with {name}, not valid before {_time(key.valid_from)}")
    if key.valid_until is not None and at >= key.valid_until:
        return verdict("expired", f"is signed with {name}, expired at {_time(key.valid_until)}")
    return verdict("good", f"is signed with {name}")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
