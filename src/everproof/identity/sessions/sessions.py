"""The sessions of people: begun by a sign-in, known in memory, and ended with everything that came of them.

A session is a credential, so it ends as all of them do: by itself, when it is revoked, when its person is disabled or
contained, and when the key that it began with is revoked. What was issued in it ends with it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from everproof.identity.credentials import TOPIC as REVOKED
from everproof.identity.credentials import Credentials, Revoked, end_credentials
from everproof.identity.directory import Directory
from everproof.identity.records import Credential
from everproof.identity.sessions import store
from everproof.identity.sessions.limits import BIND_WITHIN, COOKIE_GRACE, COOKIE_LIFETIME, Limits
from everproof.identity.sessions.records import SEEN_EVERY, SESSION, Beginning, Cookie, Kept, Session
from everproof.identity.store import find_principal
from everproof.kernel.errors import ConflictError, Error, InputError, NotFoundError, RefusedError, UnauthenticatedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import NOTHING, Proof, Ref
from everproof.storage import Storage, Transaction

TOPIC: Final = "identity.session"

MOST_OF_ONE: Final = 100
"""Sessions that one person has at a time; whoever begins a further one ends the one that was not used for longest."""

KEPT: Final = timedelta(days=30)
"""How long it is kept where a session that is over came from: addresses and browsers say much of a person."""

MAX_TEXT: Final = 512
MOST_AMR: Final = 32
"""What is kept of a provider's words about how somebody was authenticated; honest ones say a handful."""
SWEEP: Final = 1_000


class SessionOverError(UnauthenticatedError):
    """The session has ended, or nobody used it for too long."""

    code = "session-over"

    def __init__(self) -> None:
        super().__init__("the session is over", todo="sign in again")


class Sessions:
    """Every session that has not ended. ``issuer`` is this server's own audience."""

    def __init__(self, storage: Storage, credentials: Credentials, directory: Directory, *, issuer: str) -> None:
        self._storage = storage
        self._credentials = credentials
        self._directory = directory
        self._issuer = issuer
        self._live: dict[str, Kept] = {}
        self._of: dict[Ref, dict[str, None]] = {}
        self._touching: set[str] = set()
        self._sweep_at = SWEEP
        self.limits = Limits()
        with storage.reading() as connection:
            for kept in store.load_live(connection, storage.clock.now()):
                self._put(kept)
        # What a session's facts say grows by what its person does; its end is told by its credential.
        storage.subscribe(TOPIC, self._hear, at_once=True, decides=False)
        storage.subscribe(REVOKED, self._hear_revoked, at_once=True, decides=False)

    # ── changes, each within the commit of a decision ──────────────────────────────────────────────────────────────

    def begin(self, tx: Transaction, beginning: Beginning, *, cookie: bytes | None = None) -> Session:
        """Begin a session; ``cookie`` is the hash of its browser's secret.

        Raises:
            RefusedError: the person is nobody any more, is contained, or what it comes from has ended.
            ClockBehindError: nothing is issued now.
        """
        self._storage.clock.issuing_time()
        record = find_principal(tx.connection, beginning.principal)
        if record is None or record.disabled is not None:
            raise RefusedError(f"{beginning.principal} is disabled", todo="ask an administrator")
        if beginning.authenticated > tx.now:
            beginning = msgspec.structs.replace(beginning, authenticated=tx.now)
        self._make_room(tx, beginning.principal)
        credential = Credential(
            id=new_id("cred"), parent=beginning.parent, kind=SESSION, principal=beginning.principal, key=beginning.key,
            issued=tx.now, expires=tx.now + self.limits.absolute, audience=self._issuer,
            source={"session": beginning.kind, "provider": beginning.provider},
        )  # fmt: skip
        issued = self._credentials.issue(tx, credential)
        idle = self.limits.idle(beginning.kind, beginning.key)
        said = {name: getattr(beginning, name) for name in Beginning.__struct_fields__}
        for name in ("acr", "provider_subject", "provider_session", "address", "agent"):
            said[name] = said[name][:MAX_TEXT]
        said["amr"] = tuple(one[:MAX_TEXT] for one in beginning.amr[:MOST_AMR])
        said["factors"] = {method: min(at, tx.now) for method, at in beginning.factors.items()}
        session = Session(
            **said, id=issued.id, created=tx.now, seen=tx.now, expires=issued.expires,
            idle_until=min(issued.expires, tx.now + idle),
        )  # fmt: skip
        return self._write(tx, Kept(session, None if cookie is None else Cookie(cookie)), new=True)

    def show_factor(
        self,
        tx: Transaction,
        id_: str,
        method: str,
        at: datetime,
        strength: Mapping[str, Any] = NOTHING,
        *,
        of: Ref | None = None,
    ) -> Session:
        """Note that the session's person has shown a factor; ``strength`` says how, such as ``user_verified``.

        Raises:
            RefusedError: the session has ended, or is not of ``of``. Nothing was written.
        """
        kept = self._require(tx, id_)
        if of is not None and kept.session.principal != of:
            raise RefusedError("the session is somebody else's")
        session, at = kept.session, min(at, tx.now)
        if method not in session.factors or at >= session.factors[method]:  # what was shown later is known already
            session = msgspec.structs.replace(
                session,
                factors={**session.factors, method: at},
                strength={**session.strength, method: dict(strength)},
            )
        return self._write(tx, msgspec.structs.replace(kept, session=self._seen(session, tx.now)))

    def forget_factor(self, tx: Transaction, ref: Ref, method: str, *, but: str = "") -> None:
        """Let no session of a person ``but`` one have been shown ``method``: who showed it may not have been they."""
        for kept in store.of_principal(tx.connection, ref, tx.now):
            session = kept.session
            if method in session.factors and session.id != but:
                factors = {name: at for name, at in session.factors.items() if name != method}
                strength = {name: how for name, how in session.strength.items() if name != method}
                session = msgspec.structs.replace(session, factors=factors, strength=strength)
                self._write(tx, msgspec.structs.replace(kept, session=session))

    def bind_key(self, tx: Transaction, id_: str, key: str, cookie: bytes) -> Session:
        """Bind a browser's session to the key that its page has made; its cookie is short-lived from now on.

        Raises:
            RefusedError: the session has ended, or began too long ago.
            ConflictError: it is bound already. Nothing was written.
        """
        kept = self._require(tx, id_)
        session = kept.session
        if session.key is not None:
            raise ConflictError("the session is bound to a key already", todo="if it is not yours, end the session")
        if kept.cookie is None or tx.now >= session.created + BIND_WITHIN:
            raise RefusedError("the session began too long ago to be bound to a key", todo="sign in again")
        if not self._credentials.is_key_live(key):
            raise RefusedError("the key was revoked")
        session = self._seen(msgspec.structs.replace(session, key=key), tx.now)
        return self._write(tx, Kept(session, _renewed(kept.cookie, cookie, tx.now, bound=True)))

    def renew(self, tx: Transaction, id_: str, cookie: bytes) -> Session:
        """Give the session's browser another secret, by its hash: the key was shown, or a factor was.

        Raises:
            RefusedError: the session has ended. Nothing was written.
        """
        kept = self._require(tx, id_)
        if kept.cookie is None:
            raise RefusedError("the session is not that of a browser")
        session = self._seen(kept.session, tx.now)
        bound = session.key is not None
        return self._write(tx, Kept(session, _renewed(kept.cookie, cookie, tx.now, bound=bound)))

    def end(self, tx: Transaction, id_: str, reason: str) -> tuple[str, ...]:
        """End a session with all that came of it; the ids of what ended.

        Raises:
            NotFoundError: there is none, or it is over already.
        """
        if store.find_live(tx.connection, id_, tx.now) is None:
            raise NotFoundError(f"there is no session {id_}", todo="everproof sessions list shows them")
        return end_credentials(tx, [id_], reason)

    def end_others(self, tx: Transaction, ref: Ref, id_: str, reason: str) -> tuple[str, ...]:
        """End all sessions of a person but one, those among them that another process has begun just now."""
        ids = [kept.session.id for kept in store.of_principal(tx.connection, ref, tx.now) if kept.session.id != id_]
        return end_credentials(tx, ids, reason) if ids else ()

    def end_by_provider(
        self, tx: Transaction, provider: str, *, subject: str = "", session: str = ""
    ) -> tuple[str, ...]:
        """End what a provider has vouched for: one person's sessions, or its own session (OIDC back-channel logout)."""
        if not (subject or session):
            raise InputError("neither a person nor a session is named", place="sub")
        ids = store.ids_of_provider(tx.connection, provider, subject, session, tx.now)
        return end_credentials(tx, ids, f"signed out at {provider}"[:256])

    def forget(self, tx: Transaction) -> None:
        """End on record what nobody used for too long, and remove what is long over."""
        idle = store.ids_idle(tx.connection, tx.now)
        if idle:
            end_credentials(tx, idle, "idle")
        store.forget_sessions(tx, tx.now - KEPT)

    # ── questions, answered from memory ────────────────────────────────────────────────────────────────────────────

    def find(self, id_: str) -> Session | None:
        """The session, unless it has ended."""
        kept = self.kept(id_)
        return None if kept is None else kept.session

    def is_live(self, id_: str) -> bool:
        """Whether the session has not ended."""
        return self.kept(id_) is not None

    def kept(self, id_: str) -> Kept | None:
        """The session with what is known of its cookie, unless it has ended."""
        kept = self._live.get(id_) or self._unheard_of(id_)
        if kept is None or not self._credentials.is_live(id_) or self._is_over(kept.session):
            return None
        key = kept.session.key
        return kept if key is None or self._credentials.is_key_live(key) else None

    def of(self, ref: Ref) -> list[Session]:
        """The sessions of one person, the newest first."""
        found = (self.find(id_) for id_ in sorted(self._of.get(ref, ()), reverse=True))
        return [session for session in found if session is not None]

    def all(self) -> Iterator[Session]:
        """Everyone's sessions, the newest first."""
        for id_ in sorted(self._live, reverse=True):
            if (session := self.find(id_)) is not None:
                yield session

    def proof(self, id_: str) -> Proof:
        """The proof that whoever is in the session makes by showing it.

        Raises:
            SessionOverError: it has ended.
            UnauthenticatedError: its person is nobody any more.
        """
        session = self.find(id_)
        if session is None:
            raise SessionOverError
        principal = self._directory.principal(session.principal)
        if principal is None:
            raise UnauthenticatedError(f"{session.principal} is disabled", todo="ask an administrator")
        return Proof(
            kind=SESSION, principal=principal, at=session.authenticated, credential=id_, key=session.key,
            expires=min(session.idle_until, session.expires), claims={"session": id_},
        )  # fmt: skip

    def touch(self, id_: str) -> None:
        """Note that the session is used; it is written down now and then. Never raises."""
        kept = self._live.get(id_)
        now = self._storage.clock.now()
        if kept is None or id_ in self._touching or now - kept.session.seen < SEEN_EVERY:
            return
        try:
            writing = self._storage.write(lambda tx: self._touch(tx, id_))
        except Error:  # nothing can be written now: whoever asks for more than to be seen is told
            return
        self._touching.add(id_)
        writing.add_done_callback(lambda done: self._touched(id_, done))

    def _touched(self, id_: str, done: "asyncio.Future[None]") -> None:
        self._touching.discard(id_)
        if not done.cancelled():
            done.exception()  # looked at, so that asyncio does not complain: the next use tries again

    def _touch(self, tx: Transaction, id_: str) -> None:
        kept = store.find_live(tx.connection, id_, tx.now)
        if kept is not None and tx.now - kept.session.seen >= SEEN_EVERY:
            kept = msgspec.structs.replace(kept, session=self._seen(kept.session, tx.now))
            tx.publish(TOPIC, id_, store.put_session(tx, kept, new=False), quiet=True)

    def _seen(self, session: Session, now: datetime) -> Session:
        idle_until = min(session.expires, now + self.limits.idle(session.kind, session.key))
        return msgspec.structs.replace(session, seen=now, idle_until=idle_until)

    def _is_over(self, session: Session) -> bool:
        """By the limits that it began with and by those of now: a shorter one holds for everyone at once."""
        now, limits = self._storage.clock.now(), self.limits
        return (
            session.is_over(now)
            or now >= session.created + limits.absolute
            or now >= session.seen + limits.idle(session.kind, session.key)
        )

    def _require(self, tx: Transaction, id_: str) -> Kept:
        kept = store.find_live(tx.connection, id_, tx.now) if self._credentials.is_live(id_) else None
        if kept is None or self._is_over(kept.session):
            raise RefusedError("the session is over", todo="sign in again")
        return kept

    def _make_room(self, tx: Transaction, ref: Ref) -> None:
        mine = [kept.session for kept in store.of_principal(tx.connection, ref, tx.now)]
        if len(mine) >= MOST_OF_ONE:
            oldest = sorted(mine, key=lambda session: session.seen)[: len(mine) - MOST_OF_ONE + 1]
            end_credentials(tx, [session.id for session in oldest], f"more than {MOST_OF_ONE} sessions")

    def _write(self, tx: Transaction, kept: Kept, *, new: bool = False) -> Session:
        body = store.put_session(tx, kept, new=new)
        tx.publish(TOPIC, kept.session.id, body)
        return kept.session

    def _unheard_of(self, id_: str) -> Kept | None:
        """A session that another process of this server began a moment ago."""
        if self._storage.generation is None or not self._credentials.is_live(id_):
            return None
        with self._storage.reading() as connection:
            return store.find_live(connection, id_, self._storage.clock.now())

    def _put(self, kept: Kept) -> None:
        session = kept.session
        self._live[session.id] = kept
        self._of.setdefault(session.principal, {})[session.id] = None

    def _drop(self, id_: str) -> None:
        kept = self._live.pop(id_, None)
        if kept is not None:
            mine = self._of.get(kept.session.principal, {})
            mine.pop(id_, None)
            if not mine:
                self._of.pop(kept.session.principal, None)

    def _hear(self, _key: str, body: bytes) -> None:
        self._put(store.read_kept(body))
        if len(self._live) >= self._sweep_at:
            for id_ in [id_ for id_, kept in list(self._live.items()) if self._is_over(kept.session)]:
                self._drop(id_)
            self._sweep_at = 2 * len(self._live) + SWEEP

    def _hear_revoked(self, _key: str, body: bytes) -> None:
        for id_, _ in msgspec.msgpack.decode(body, type=Revoked).credentials:
            self._drop(id_)


def _renewed(before: Cookie, secret: bytes, now: datetime, *, bound: bool) -> Cookie:
    until = now + COOKIE_LIFETIME if bound else None
    return Cookie(secret, until, before.hash, now + COOKIE_GRACE)
