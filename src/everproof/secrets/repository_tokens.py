"""Tokens of repositories: a child of the credential of whoever asks, made by decision, ended at the platform with it.

In this order: the decision's entry, the credential, the job that ends it and the note that a token is asked for are
one commit; then the platform is asked; what it made is on record, sealed, before anybody gets it. So whatever dies at
whatever moment, a token that may live is known, and its end is waited for until the platform has said it or its own end
has come.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection

from everproof.authorize import Allowed
from everproof.identity import credential_store
from everproof.identity.credentials import TOPIC, Credentials, Revoked
from everproof.identity.records import Credential
from everproof.kernel.canonical import encode
from everproof.kernel.errors import Error, NotFoundError, RefusedError, UnavailableError
from everproof.kernel.ids import new_id
from everproof.kernel.words import MAIN_SPACE, Entry, Proof
from everproof.keys import Keyring
from everproof.ledger import Ledger
from everproof.secrets import store
from everproof.secrets.repositories import Access, HostError, Minted, NotMadeError, RepositoryHost
from everproof.storage import Change, Storage, Transaction
from everproof.work import Errand, PostponedError, Task, Verb, Work

KIND: Final = "repository-token"
"""What its credential is called in its lineage."""
ENTRY_KIND: Final = "repository-token"
END: Final = "secrets.end-repository-token"
SWEEP: Final = "secrets.sweep-repository-tokens"

ATTEMPTS: Final = 1_000
"""Ten minutes apart: longer than any platform lets such a token live."""
SWEEP_EVERY: Final = timedelta(minutes=1)
"""What the feed did not tell, as when the server was down, is found so much later."""
MOST: Final = 32
"""Tokens at a time that come from one credential: a job that asks in a loop fills neither the platform nor us."""
PAGE: Final = 500
KEPT: Final = timedelta(days=30)

_CONTEXT: Final = "secrets/repository-token:"
_log: Final = structlog.get_logger("everproof.secrets")


class Lease(msgspec.Struct, frozen=True):
    """A token that is about to be asked for: its credential, and when it ends."""

    credential: str
    access: Access
    ends: datetime


class Issued(msgspec.Struct, frozen=True):
    """A token, for whoever asked."""

    token: str
    username: str
    lease: Lease

    def __repr__(self) -> str:
        return f"Issued({self.lease.credential})"


class RepositoryTokens:
    """The room's service. ``hosts`` are the platforms by the names that callers use."""

    def __init__(
        self,
        storage: Storage,
        *,
        keyring: Keyring,
        ledger: Ledger,
        work: Work,
        credentials: Credentials,
        hosts: Mapping[str, RepositoryHost],
    ) -> None:
        self._storage = storage
        self._keyring = keyring
        self._ledger = ledger
        self._work = work
        self._credentials = credentials
        self._hosts = hosts
        self._mine: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        work.register(Verb(name=END, run=self._end, attempts=ATTEMPTS))
        work.register(SWEEP, self._sweep)
        storage.subscribe(TOPIC, self._hear, decides=False)

    def host(self, name: str) -> RepositoryHost:
        """The platform called ``name``.

        Raises:
            NotFoundError: there is none.
        """
        found = self._hosts.get(name)
        if found is None:
            known = ", ".join(sorted(self._hosts)) or "none"
            raise NotFoundError(
                f"no platform of repositories is called {name!r}; known are: {known}",
                todo="name it under [repositories] in server.toml",
            )
        return found

    def host_of(self, issuer: object) -> RepositoryHost:
        """The platform whose jobs have tokens of ``issuer``.

        Raises:
            NotFoundError: there is none, or more than one.
        """
        found = [one for one in self._hosts.values() if one.issuer == issuer]
        if len(found) != 1:
            raise NotFoundError(
                "it cannot be told at which platform your repository is", place="host", todo="name the host"
            )
        return found[0]

    def begin(self, tx: Transaction, proof: Proof, access: Access, lifetime: timedelta) -> Lease:
        """Put the credential of a token on record, and the job that ends it: the ``within`` of the decision.

        Raises:
            RefusedError: what it comes from was revoked or is over, or has many that live. Nothing was written.
        """
        parent = proof.credential or ""
        if parent and store.count_open(tx.connection, parent) >= MOST:
            raise RefusedError(
                f"{MOST} tokens live that come from your credential",
                todo="use the ones you have, or ask for shorter lives",
            )
        issued = self._credentials.issue(
            tx,
            Credential(
                id=new_id("cred"), parent=proof.credential, kind=KIND, principal=proof.principal.ref, key=None,
                issued=tx.now, expires=tx.now + lifetime, audience=f"{access.host}:{access.repository}",
                scope=("repository:write" if access.writes else "repository:read",),
                source={"permissions": " ".join(access.words)},
            ),
        )  # fmt: skip
        dies = self.host(access.host).last_end(issued.expires)
        store.insert_token(tx, issued.id, parent, access, ends=issued.expires, dies=dies)
        self._work.enqueue(tx, END, issued.id, key=f"{issued.id}:expires", after=issued.expires)
        return Lease(issued.id, access, issued.expires)

    async def mint(self, allowed: Allowed[Any, Any, Lease]) -> Issued:
        """Have the token made that was allowed.

        Raises:
            UnavailableError: the platform made none.
            RefusedError: it made another than was asked for, or its credential was revoked meanwhile. Then it is ended.
        """
        lease = allowed.outcome
        self._mine.add(lease.credential)
        host = self.host(lease.access.host)
        try:
            minted = await host.mint(lease.access, name=_name(lease.credential), ends=lease.ends)
        except Error as error:
            reason, made = str(error), not isinstance(error, NotMadeError)
            await asyncio.shield(self._storage.write(lambda tx: self._give_up(tx, lease, reason, made=made)))
            raise HostError(f"no token was made: {error.message}", place=error.place, todo=error.todo) from None
        except BaseException:
            # Cancelled, or a bug: what the platform made of it is looked for.
            reason = "its answer was not waited for"
            await asyncio.shield(self._storage.write(lambda tx: self._give_up(tx, lease, reason, made=True)))
            raise
        refusal = await asyncio.shield(self._storage.write(lambda tx: self._keep(tx, allowed, minted)))
        if refusal is not None:
            raise RefusedError(refusal, place=host.name)
        return Issued(minted.token, host.username, lease)

    async def start(self) -> None:
        """Begin to look for tokens whose credential has ended. Called before jobs are run."""
        self._mine.update(await asyncio.to_thread(lambda: [one for one, _ in self._open()]))

        def prepare(tx: Transaction) -> None:
            self._work.enqueue(tx, SWEEP, None, key=SWEEP, every=SWEEP_EVERY)

        await self._storage.write(prepare)

    async def stop(self) -> None:
        """Wait for what was heard last."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reach(self, connection: Connection, credentials: Sequence[str]) -> Iterable[Errand]:
        """What has to be ended at platforms because these credentials have: for containment."""
        for one in store.among(connection, credentials):
            yield _errand(one.credential, one.access)

    def _keep(self, tx: Transaction, allowed: Allowed[Any, Any, Lease], minted: Minted) -> str | None:
        """Put what was made on record; why nobody may have it, or None."""
        lease = allowed.outcome
        sealed = self._keyring.seal(tx, MAIN_SPACE, minted.token.encode(), context=_context(lease.credential))
        store.hold(tx, lease.credential, token_id=minted.id, key_id=sealed.key_id, sealed=sealed.data, dies=minted.dies)
        refusal = f"the platform made a token that may do more: {minted.excess}" if minted.excess else None
        if refusal is None and not credential_store.find_live(tx.connection, [lease.credential]):
            refusal = "the credential that this comes from was revoked meanwhile"
        if refusal is None and lease.ends <= tx.now:
            refusal = "its time was over before the platform answered"
        if refusal is not None:
            self._credentials.revoke(tx, lease.credential, refusal)
            # Not the errand of containment: that one may have been done before there was anything to end.
            self._work.enqueue(tx, END, lease.credential, key=f"{lease.credential}:refused", recorded=True)
        self._record(tx, lease, "refused" if refusal else "issued", refusal or "", token=minted.token)
        return refusal

    def _give_up(self, tx: Transaction, lease: Lease, reason: str, *, made: bool) -> None:
        """``made``: the platform may have made it all the same, so its end is still seen to."""
        self._credentials.revoke(tx, lease.credential, "the platform made no token")
        if made:
            self._work.enqueue(tx, END, lease.credential, key=f"{lease.credential}:lost")
        else:
            store.end(tx, lease.credential)
        self._record(tx, lease, "failed", reason)

    async def _end(self, task: Task) -> Change[None] | None:
        """End a token at its platform. Raising lets it be tried again."""
        credential = task.payload
        kept = await asyncio.to_thread(self._read, credential)
        if kept is None or kept.state == "ended":
            return None
        left = kept.dies - self._storage.clock.now()
        if left > timedelta():
            token = self._keyring.open(kept.key_id, kept.sealed, context=_context(credential)) if kept.key_id else b""
            told = await self._host_of(kept).revoke(
                kept.access, name=_name(credential), id=kept.token_id, token=token.decode()
            )
            if not told:
                raise PostponedError("nobody has it, and it ends by itself", after=left, place=kept.access.host)

        def done(tx: Transaction) -> None:
            now = store.find(tx.connection, credential)
            # Made after this looked for it: whoever had it made sees to its end.
            if now is not None and now.sealed == kept.sealed:
                store.end(tx, credential)
                self._mine.discard(credential)
                self._record(tx, Lease(credential, kept.access, kept.ends), "ended", "")

        return done

    def _host_of(self, kept: store.Kept) -> RepositoryHost:
        """Raises: HostError: it is not named any more, and may be again before the token is dead."""
        try:
            return self.host(kept.access.host)
        except NotFoundError as error:
            raise HostError(str(error)) from error

    async def _sweep(self, _task: Task) -> Change[None]:
        """Find tokens whose credential has ended, and let them be ended too."""
        ended = await asyncio.to_thread(self._orphans)

        def send(tx: Transaction) -> None:
            self._send(tx, ended)
            store.forget(tx, tx.now - KEPT)

        return send

    def _orphans(self) -> list[str]:
        return [one for one, lives in self._open() if not lives]

    def _open(self) -> list[tuple[str, bool]]:
        """The credentials whose tokens may live, and whether they do themselves."""
        found: list[tuple[str, bool]] = []
        after = ""
        with self._storage.reading() as connection:
            while page := store.open_after(connection, after, limit=PAGE):
                live = {one.id for one in credential_store.find_live(connection, page)}
                found.extend((one, one in live) for one in page)
                after = page[-1]
        return found

    def _hear(self, _key: str, body: bytes) -> None:
        told = {id_ for id_, _ in msgspec.msgpack.decode(body, type=Revoked).credentials} & self._mine
        if not told:
            return
        try:
            task = asyncio.get_running_loop().create_task(self._hasten(sorted(told)))
        except RuntimeError:  # before the server runs: its first sweep finds them
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hasten(self, ended: Sequence[str]) -> None:
        try:
            await self._storage.write(lambda tx: self._send(tx, ended))
        except UnavailableError:
            _log.warning("tokens of repositories are ended later", count=len(ended))

    def _send(self, tx: Transaction, ended: Sequence[str]) -> None:
        for at in range(0, len(ended), PAGE):
            for errand in self.reach(tx.connection, ended[at : at + PAGE]):
                self._work.send(tx, errand)

    def _read(self, credential: str) -> store.Kept | None:
        with self._storage.reading() as connection:
            return store.find(connection, credential)

    def _record(self, tx: Transaction, lease: Lease, outcome: str, reason: str, *, token: str = "") -> None:
        """What came of it. The token's hash is what platforms name it by in their own audit logs."""
        body = {
            "outcome": outcome, "credential": lease.credential, "host": lease.access.host,
            "repository": lease.access.repository, "permissions": list(lease.access.words), "reason": reason,
            "hashed_token": hashlib.sha256(token.encode()).hexdigest() if token else "",
        }  # fmt: skip
        entry = Entry(id=new_id("ent"), at=tx.now, kind=ENTRY_KIND, about=MAIN_SPACE, body=msgspec.Raw(encode(body)))
        self._ledger.append(tx, entry)


def _errand(credential: str, access: Access) -> Errand:
    told = f"end the token of {access.host}:{access.repository} ({' '.join(access.words)})"
    return Errand(verb=END, payload=credential, key=f"{credential}:revoked", told=told)


def _name(credential: str) -> str:
    return f"everproof {credential}"


def _context(credential: str) -> bytes:
    return f"{_CONTEXT}{credential}".encode()
