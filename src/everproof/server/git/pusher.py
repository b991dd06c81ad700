"""Who pushes: proved by the session of the forced SSH command, by a push certificate, or by both, who then agree.

git's verdicts on a certificate come to its hook as GIT_PUSH_CERT_STATUS, _SIGNER, _KEY and _NONCE_STATUS. Anyone who
can set a variable can set those, so none is read: the certificate's own bytes are judged.
"""

import asyncio
import hashlib
from datetime import datetime
from typing import Final

import msgspec

from everproof.evidence import Certificate, RefUpdate, names_repository, nonce_age, parse_certificate
from everproof.identity import Identity, sshsig
from everproof.kernel.errors import Error, UnauthenticatedError
from everproof.kernel.words import Proof
from everproof.server.git.repositories import Repository
from everproof.server.git.sessions import Session

NAMESPACE: Final = "git"
_SIGN: Final = "push with a signature (git push --signed) or through this server's SSH address"
_AGAIN: Final = "push again, which makes a new certificate"


class Pusher(msgspec.Struct, frozen=True):
    """Who pushes; ``certificate`` is the SHA-256 of what was signed, to be used up, where there is a certificate."""

    proof: Proof
    certificate: str | None = None

    @property
    def certified(self) -> bool:
        """There is a push certificate, and it holds."""
        return self.certificate is not None


class Pushers:
    """Finds out who pushes."""

    def __init__(self, identity: Identity, git: str) -> None:
        self._identity = identity
        self._git = git

    async def find(
        self,
        repository: Repository,
        updates: tuple[RefUpdate, ...],
        session: Session | None,
        raw: bytes | None,
        at: datetime,
    ) -> Pusher:
        """The pusher.

        Raises:
            UnauthenticatedError: nobody is proved, or the certificate does not hold for this very push.
        """
        connected = None
        if session is not None:
            connected = self._identity.proofs.ssh_key(session.key, kind="ssh-key", at=at)
        if raw is None:
            if connected is None:
                raise UnauthenticatedError("nobody is proved to be pushing", todo=_SIGN)
            return Pusher(connected)
        try:
            certificate = parse_certificate(raw)
        except Error as error:
            raise UnauthenticatedError(f"the push certificate cannot be read: {error.message}", todo=_AGAIN) from error
        proof = self._signer(certificate, at)
        if connected is not None and connected.principal.ref != proof.principal.ref:
            signer, other = proof.principal.ref.id, connected.principal.ref.id
            raise UnauthenticatedError(
                f"the push certificate is {signer}'s, but the connection is {other}'s",
                todo="connect and sign as the same person",
            )
        if set(certificate.updates) != set(updates) or len(certificate.updates) != len(updates):
            raise UnauthenticatedError("the push certificate was signed for another push", todo=_AGAIN)
        if not names_repository(certificate.pushee, repository.name):
            raise UnauthenticatedError("the push certificate was signed for another repository", todo=_AGAIN)
        seed = await self._nonce_seed(repository)
        paths = (str(repository.path), ".", str(repository.path).removesuffix(".git"))
        if nonce_age(certificate.nonce, seed=seed, paths=paths, now=at) is None:
            raise UnauthenticatedError(
                "the push certificate's nonce is not a fresh one of this repository", todo=_AGAIN
            )
        return Pusher(proof, hashlib.sha256(certificate.signature.payload).hexdigest())

    def _signer(self, certificate: Certificate, at: datetime) -> Proof:
        try:
            signed = sshsig.verify(certificate.signature.armour, certificate.signature.payload, namespace=NAMESPACE)
        except Error as error:
            raise UnauthenticatedError(f"the push certificate's signature does not hold: {error.message}") from error
        if certificate.pusher not in (signed.fingerprint, ""):
            raise UnauthenticatedError("the push certificate names another key than the one that signed it")
        return self._identity.proofs.ssh_key(signed.public_key, kind="push-certificate", at=at)

    async def _nonce_seed(self, repository: Repository) -> str:
        # Only this one file is read, and git does not look who owns the repository: nothing in it can run anything.
        config = str(repository.path / "config")
        process = await asyncio.create_subprocess_exec(
            *(self._git, "config", "--file", config, "--get", "receive.certNonceSeed"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
        )
        output, _ = await process.communicate()
        seed = output.decode(errors="replace").rstrip("\n")
        if process.returncode != 0 or not seed:
            raise UnauthenticatedError(
                "the repository has no secret to make nonces with, or the server cannot read it",
                todo="run everproof git install on the repository, as an account whose files the server may read",
            )
        return seed
