"""The git door: what sshd, `git serve` and the hook ask. It has no checks of its own beyond who is at the socket."""

import asyncio
import os
import pwd
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from everproof.authorize import Authorizer, Denied, Outcome
from everproof.evidence import (
    Examination,
    RawObject,
    RefEvidence,
    RefUpdate,
    first_received,
    record_receipt,
    ref_name,
    use_certificate,
)
from everproof.identity import Identity
from everproof.kernel.errors import Error, InputError, RefusedError, UnauthenticatedError
from everproof.kernel.settings import GitDoor as Settings
from everproof.kernel.words import Action, Mode
from everproof.server.git.pusher import Pusher, Pushers
from everproof.server.git.refusal import fetch_refused, refused, unproved
from everproof.server.git.repositories import Repositories, Repository
from everproof.server.git.sessions import Sessions
from everproof.server.git.wire import (
    KeyAnswer,
    KeyQuestion,
    Push,
    PushAnswer,
    SentUpdate,
    SessionAnswer,
    SessionQuestion,
)
from everproof.server.http.call import Peer
from everproof.storage import Storage, Transaction

FETCH: Final = Action("git:fetch")
PUSH: Final = Action("git:push")

_log: Final = structlog.get_logger("everproof.git")


class GitDoor:
    """Answers for the repositories under one folder."""

    def __init__(
        self,
        settings: Settings,
        *,
        storage: Storage,
        authorizer: Authorizer,
        identity: Identity,
        mode: Callable[[], Mode],
        git: str = "git",
    ) -> None:
        self._mode = mode
        self._user = settings.user
        self._authorizer = authorizer
        self._identity = identity
        self._storage = storage
        self._clock = storage.clock
        self._repositories = Repositories(settings.root)
        self._pushers = Pushers(identity, git)
        self._sessions = Sessions()
        self._uids = _uids(settings.user)

    async def key(self, peer: Peer | None, question: KeyQuestion) -> KeyAnswer:
        """Does sshd let this key in? Any key on record: what it may do is decided when it says what it wants."""
        self.admit(peer)
        if question.user != self._user:
            return KeyAnswer(known=False)
        return KeyAnswer(known=self._identity.proofs.knows_ssh_key(question.key))

    async def session(self, peer: Peer | None, question: SessionQuestion) -> SessionAnswer:
        """May the holder of this key fetch from, or begin to push into, this repository?

        Who pushes is shown every ref first, so beginning a push needs what a fetch needs; the push itself is decided
        ref by ref when the hook asks.
        """
        peer = self.admit(peer)
        try:
            repository = self._repositories.named(question.repository)
            proof = self._identity.proofs.ssh_key(question.key, kind="ssh-key", at=self._clock.now())
        except Error as error:
            _log.warning("refused", service=question.service, repository=question.repository, detail=str(error))
            return SessionAnswer(allowed=False, lines=unproved(error))
        detail = {"service": question.service}
        outcome: Outcome = await self._authorizer.authorize(
            proof, FETCH, repository.resource(), detail=detail, mode=self._mode()
        )
        lines: tuple[str, ...] = ()
        if isinstance(outcome, Denied):
            lines = fetch_refused(outcome)
            if not outcome.lets_pass:
                return SessionAnswer(allowed=False, lines=lines)
        if question.service == "receive-pack":
            self._sessions.open(peer.pid, question.key, repository)
        return SessionAnswer(allowed=True, lines=lines, path=str(repository.path))

    async def push(self, peer: Peer | None, question: Push) -> PushAnswer:
        """May all of this be pushed? One decision for each ref; one denial is a refusal of everything."""
        peer = self.admit(peer)
        at = self._clock.now()
        repository = self._repositories.at(Path(question.repository))
        try:
            updates = tuple(_read_update(sent) for sent in question.updates)
            session = self._sessions.take(peer.pid, repository)
            pusher = await self._pushers.find(repository, updates, session, question.certificate, at)
            # A thousand signatures are a tenth of a second: other callers are answered meanwhile.
            evidence = await asyncio.to_thread(self._examine, updates, question, at)
        except Error as error:
            _log.warning("refused", repository=repository.name, detail=str(error))
            lets_pass = self._mode() == "observe" and isinstance(error, UnauthenticatedError)
            return PushAnswer(allowed=lets_pass, lines=unproved(error, observed=lets_pass))
        outcomes = await asyncio.gather(*(self._decide(pusher, repository, found) for found in evidence))
        denials = [
            (found, outcome) for found, outcome in zip(evidence, outcomes, strict=True) if isinstance(outcome, Denied)
        ]
        allowed = all(denied.lets_pass for _, denied in denials)
        return PushAnswer(allowed=allowed, lines=refused(denials, observed=allowed) if denials else ())

    async def _decide(self, pusher: Pusher, repository: Repository, found: RefEvidence) -> Outcome:
        update = found.update
        at = self._clock.now()
        facts = found.facts(at, pusher=pusher.proof.principal.ref, certificate=pusher.certified)
        detail = {"old": update.old, "new": update.new, "signers": _signers(found)}

        def settle(tx: Transaction) -> None:
            if pusher.certificate is not None:
                use_certificate(tx, pusher.certificate, update.ref)
            record_receipt(tx, (commit.oid for commit in found.commits))

        resource = repository.branch(update.ref)
        return await self._authorizer.authorize(
            pusher.proof, PUSH, resource, facts=facts, detail=detail, within=settle, mode=self._mode()
        )

    def _examine(self, updates: tuple[RefUpdate, ...], question: Push, at: datetime) -> list[RefEvidence]:
        names = {commit for sent in question.updates for commit in sent.commits}
        with self._storage.reading() as connection:
            received = first_received(connection, names)
        objects = [RawObject(sent.oid, sent.type, sent.raw) for sent in question.objects]
        examination = Examination(objects, self._identity.directory, at, received=received)
        return [
            examination.update(update, sent.commits, fast_forward=sent.fast_forward, known=sent.known)
            for update, sent in zip(updates, question.updates, strict=True)
        ]

    def admit(self, peer: Peer | None) -> Peer:
        """Only git's account and the server's own may ask: they could write into the repositories anyway."""
        if peer is None or peer.uid not in self._uids:
            raise RefusedError(
                f"only the account {self._user!r} may ask this, and only by the unix socket",
                todo="set git.user in server.toml to the account that git runs as",
            )
        return peer


def _uids(user: str) -> frozenset[int]:
    try:
        return frozenset({os.getuid(), pwd.getpwnam(user).pw_uid})
    except KeyError:
        return frozenset({os.getuid()})


def _read_update(sent: SentUpdate) -> RefUpdate:
    if sent.alias:
        raise InputError(f"{sent.ref} is another name of {sent.alias}", todo=f"push to {sent.alias} itself")
    return RefUpdate(ref_name(sent.ref), sent.old, sent.new)


def _signers(found: RefEvidence) -> list[str]:
    return sorted({commit.verdict.fingerprint for commit in found.commits if commit.verdict.fingerprint is not None})
