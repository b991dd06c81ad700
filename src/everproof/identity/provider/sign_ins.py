"""Who is signed in to which client, and telling clients that it is over (OpenID Connect Back-Channel Logout 1.0).

A client is told when its user signs out here, when the session is ended, and when the person is disabled or contained,
also long after the session has run out: the client's own session may live on. It is not told that a session was idle.
That it must be told stands on record with a durable job, which tries until the client has answered.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from everproof.identity.access_tokens import subject
from everproof.identity.credential_store import find_credential
from everproof.identity.credentials import TOPIC as REVOKED
from everproof.identity.credentials import Revoked
from everproof.identity.directory import PRINCIPALS, Directory
from everproof.identity.holding import TOPIC as HELD
from everproof.identity.outbound import Outbound, OutboundError
from everproof.identity.provider import store
from everproof.identity.provider.clients import Clients
from everproof.identity.provider.tokens import ProviderTokens
from everproof.identity.records import Credential, PrincipalRecord
from everproof.identity.sessions import Session, Sessions
from everproof.kernel.clock import milliseconds
from everproof.kernel.errors import Error
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.storage import Storage, Transaction
from everproof.work import HopelessError, Task, Work

TOPIC: Final = "provider.sign-in"
VERB: Final = "provider.logout"
SWEEP: Final = "provider.sweep"
SWEEP_EVERY: Final = timedelta(minutes=10)
"""How long a client may wait to be told where this server ended just after the session did."""

KEPT: Final = timedelta(days=30)
"""How long a client is told of the end of a session of its own, which may last longer than ours."""

IDLE: Final = "idle"
ANEW: Final = "signed in anew"
"""Why sessions end that clients need not hear of: the person is still the same, and has not gone."""

_FORM: Final = "application/x-www-form-urlencoded"
_HEARD: Final = frozenset({200, 204})
_REFUSED: Final = 400


class SignIns:
    """The sign-ins of all clients."""

    def __init__(
        self,
        storage: Storage,
        work: Work,
        *,
        clients: Clients,
        sessions: Sessions,
        directory: Directory,
        tokens: ProviderTokens,
        outbound: Outbound,
    ) -> None:
        self._storage = storage
        self._work = work
        self._clients = clients
        self._sessions = sessions
        self._directory = directory
        self._tokens = tokens
        self._outbound = outbound
        self._known: set[str] = set()
        with storage.reading() as connection:
            for row in store.all_untold(connection, storage.clock.now()):
                self._known.update((row.session, row.user))
        work.register(VERB, self._tell)
        work.register(SWEEP, self._sweep)
        storage.subscribe(TOPIC, self._hear_sign_in, decides=False)
        storage.subscribe(REVOKED, self._hear_revoked, decides=False)
        storage.subscribe(PRINCIPALS, self._hear_principal, decides=False)
        storage.subscribe(HELD, self._hear_held, decides=False)

    def schedule(self, tx: Transaction) -> None:
        """Look now and then for clients that nobody told."""
        self._work.enqueue(tx, SWEEP, None, key=SWEEP, every=SWEEP_EVERY)

    def note(self, tx: Transaction, session: Session, client: str) -> str:
        """Note that the session's person has signed in to ``client``; the client's name for the session (``sid``)."""
        found = store.find_sign_in(tx.connection, session.id, client)
        if found is not None:
            return found
        id_ = new_id("sess")
        store.insert_sign_in(
            tx, id=id_, session=session.id, client=client, user=session.principal.id, at=milliseconds(tx.now),
            expires=milliseconds(tx.now + KEPT),
        )  # fmt: skip
        tx.publish(TOPIC, id_, msgspec.json.encode([session.id, session.principal.id]))
        return id_

    def is_of(self, sid: str, session: str) -> bool:
        """Whether ``sid`` is what a client knows ``session`` by. A query."""
        with self._storage.reading() as connection:
            return any(row.session == session for row in store.untold_sign_ins(connection, ids=[sid]))

    def end(
        self, tx: Transaction, *, sessions: Iterable[str] = (), users: Iterable[str] = (), ids: Iterable[str] = ()
    ) -> list[str]:
        """Let the clients of these sign-ins be told that they are over; the jobs that do it."""
        rows = store.untold_sign_ins(tx.connection, sessions=sessions, users=users, ids=ids)
        return self._enqueue(tx, rows)

    def end_at(self, tx: Transaction, user: str, client: str) -> list[str]:
        """Let ``client`` be told that the sign-ins of a person are over; the jobs that do it."""
        return self._enqueue(tx, store.sign_ins_at(tx.connection, user, client))

    def _enqueue(self, tx: Transaction, rows: list[Any]) -> list[str]:
        store.mark_told(tx, [row.id for row in rows])
        return [
            self._work.enqueue(
                tx, VERB, {"client": row.client, "sub": subject(Ref("User", row.user)), "sid": row.id},
                key=f"{VERB}:{row.id}", about=Ref("User", row.user), recorded=True,
            )
            for row in rows
        ]  # fmt: skip

    def _end_sessions(self, tx: Transaction, sessions: Iterable[str]) -> None:
        for id_ in sessions:
            found = find_credential(tx.connection, id_)
            successor = self._successor(found) if found is not None and found.revoked_reason == ANEW else None
            if successor is not None:
                store.move_sign_ins(tx, id_, successor.id)
                tx.publish(TOPIC, id_, msgspec.json.encode([successor.id, successor.principal.id]))
            elif found is None or found.revoked_reason != IDLE:
                self.end(tx, sessions=[id_])

    def _successor(self, ended: Credential) -> Session | None:
        """The session that its person has begun in the commit that ended this one."""
        assert ended.revoked_at is not None
        at = milliseconds(ended.revoked_at)
        return next((one for one in self._sessions.of(ended.principal) if milliseconds(one.created) == at), None)

    def _hear_sign_in(self, _key: str, body: bytes) -> None:
        self._known.update(msgspec.json.decode(body, type=tuple[str, str]))

    def _hear_revoked(self, _key: str, body: bytes) -> None:
        told = msgspec.msgpack.decode(body, type=Revoked).credentials
        ended = [id_ for id_, _ in told if id_ in self._known]
        if ended:
            self._known.difference_update(ended)
            self._write(lambda tx: self._end_sessions(tx, ended))

    def _hear_principal(self, _key: str, body: bytes) -> None:
        record = msgspec.json.decode(body, type=PrincipalRecord)
        if record.disabled is not None and record.ref.type == "User":
            self._end_user(record.ref.id)

    def _hear_held(self, key: str, body: bytes) -> None:
        type_, _, id_ = key.partition(":")
        if type_ == "User" and body == b"held":
            self._end_user(id_)

    def _end_user(self, id_: str) -> None:
        if id_ in self._known:
            self._known.discard(id_)
            self._write(lambda tx: self._end_users(tx, id_))

    def _end_users(self, tx: Transaction, id_: str) -> None:
        self.end(tx, users=[id_])

    def _write(self, change: Any) -> None:
        try:
            writing = self._storage.write(change)
        except Error:  # nothing can be written now: the sweep does it
            return
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _sweep(self, _task: Task) -> Any:
        return self.sweep

    def sweep(self, tx: Transaction) -> None:
        """Let every client be told that has still to hear of an end."""
        rows = store.all_untold(tx.connection, tx.now)
        gone = {row.user for row in rows if self._directory.principal(Ref("User", row.user)) is None}
        self.end(tx, users=gone)
        for id_ in {row.session for row in rows if row.user not in gone}:
            found = find_credential(tx.connection, id_)
            if found is not None and found.revoked_at is not None:
                self._end_sessions(tx, [id_])

    async def _tell(self, task: Task) -> None:
        """Post a logout token to a client.

        Raises:
            HopelessError: the client says that the token is no good.
            OutboundError: it did not answer, or not well; it is asked again.
        """
        said = task.payload
        client = self._clients.find(said["client"])
        if client is None or not client.line.backchannel_logout_uri:
            return
        token = self._tokens.logout_token(client, sub=said["sub"], sid=said["sid"])
        uri = client.line.backchannel_logout_uri
        answer = await self._outbound.post(uri, urlencode({"logout_token": token}).encode(), media=_FORM)
        if answer.status == _REFUSED:
            raise HopelessError(f"{client.id} refuses the logout token", place=uri)
        if answer.status not in _HEARD:
            raise OutboundError(f"answered {answer.status}", place=uri)
