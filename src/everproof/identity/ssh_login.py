"""Logging in with the SSH key that one signs commits with, through ssh-agent or a security key as it comes.

The client makes a fresh key, asks for a challenge and signs `challenges.login_message` with
``ssh-keygen -Y sign -n login@everproof``. What the server then issues is bound to that fresh key.
"""

from datetime import datetime
from typing import Any

import msgspec

from everproof.identity import sshsig
from everproof.identity.challenges import LOGIN_NAMESPACE, Challenge, Challenges, login_message
from everproof.identity.directory import Directory
from everproof.identity.proofs import require_good
from everproof.identity.replay_store import spend
from everproof.identity.sessions.records import Beginning
from everproof.identity.sshsig import SignatureInfo, SshSignatureError
from everproof.kernel.clock import Clock
from everproof.kernel.errors import UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.storage import Transaction

KIND = "ssh-signature"


class UnknownKeyError(UnauthenticatedError):
    """A good signature, by a key that is nobody's here."""

    code = "unknown-key"


class Login(msgspec.Struct, frozen=True):
    """A login whose signature holds. Its challenge must be spent in the commit that issues anything for it."""

    proof: Proof
    challenge: Challenge

    def settle(self, tx: Transaction) -> None:
        """Spend the challenge.

        Raises:
            ReplayedError: it was used before. Nothing was written.
        """
        spend(tx, self.challenge.id, self.challenge.expires)

    def beginning(self, *, address: str = "", agent: str = "") -> Beginning:
        """How the session begins that this opens.

        A security key that was touched after its PIN or a finger is two factors at once; any other key is the first.
        """
        proof = self.proof
        verified = proof.claims.get("user_present") is True and proof.claims.get("user_verified") is True
        return Beginning(
            principal=proof.principal.ref, kind="cli", provider="ssh-key", authenticated=proof.at,
            factors={"ssh-security-key" if verified else "ssh-key": proof.at}, parent=proof.credential, key=proof.key,
            address=address, agent=agent,
        )  # fmt: skip


class SshLogin:
    """Verifies logins at this server."""

    def __init__(self, directory: Directory, challenges: Challenges, clock: Clock) -> None:
        self._directory = directory
        self._challenges = challenges
        self._clock = clock

    def challenge(self) -> Challenge:
        """What to sign over next."""
        return self._challenges.new()

    def verify(self, challenge: str, signature: bytes, *, key: str) -> Login:
        """Who signed; ``key`` is the thumbprint of the fresh key, whose possession the caller has just shown.

        Raises:
            UnauthenticatedError: the challenge, the signature or the key does not hold.
        """
        asked = self._challenges.read(challenge)
        server = self._challenges.server
        message = login_message(server=server, challenge=challenge, at=asked.at, key=key)
        try:
            signed = sshsig.verify(signature, message, LOGIN_NAMESPACE)
        except SshSignatureError as error:
            todo = error.todo or f"log in at {server}, exactly by this name"
            raise UnauthenticatedError(error.message, place="signature", todo=todo) from error
        return Login(self._proof(signed, key, self._clock.now()), asked)

    def _proof(self, signed: SignatureInfo, key: str, now: datetime) -> Proof:
        record = self._directory.key(signed.fingerprint)
        if record is None or record.kind != "ssh":
            raise UnknownKeyError(
                f"nobody here has the key {signed.fingerprint}",
                todo="enrol it, or log in with a key that is enrolled: everproof login --key FILE",
            )
        require_good(record, now)
        principal = self._directory.principal(record.principal)
        if principal is None:
            raise UnauthenticatedError(f"{record.principal} is disabled", todo="ask an administrator")
        return Proof(
            kind=KIND, principal=principal, at=now, credential=record.credential, key=key, expires=record.valid_until,
            claims=claims_of(signed),
        )  # fmt: skip


def claims_of(signed: SignatureInfo) -> dict[str, Any]:
    """What a signature says beyond whose it is; of a security key also its touch and its counter."""
    said = {
        "ssh_key": signed.fingerprint,
        "algorithm": signed.algorithm,
        "user_present": signed.user_present,
        "user_verified": signed.user_verified,
        "counter": signed.counter,
    }
    return {name: value for name, value in said.items() if value is not None}
