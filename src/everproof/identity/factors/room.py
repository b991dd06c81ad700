"""Factors put together: what a person has, and what was shown in a session."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from everproof.identity.challenges import Challenges
from everproof.identity.directory import Directory
from everproof.identity.factors import recovery_store, store
from everproof.identity.factors.passkeys import Passkeys
from everproof.identity.factors.passkeys import Shown as PasskeyShown
from everproof.identity.factors.passwords import CONFIRM_WITHIN, CodeShown, Passwords
from everproof.identity.factors.records import METHODS, STRONG, WEBAUTHN, Attempts, Factor, Method
from everproof.identity.factors.recoveries import Recoveries
from everproof.identity.factors.rules import Rules, rules_of
from everproof.identity.factors.telling import Notices, Telling, named
from everproof.identity.names import shown_name
from everproof.identity.sessions import Session, Sessions
from everproof.kernel.errors import InputError, NotFoundError, RefusedError
from everproof.kernel.words import MAIN_SPACE, Action, Fact, Proof, Ref, Resource
from everproof.keys import Keyring, SigningKeys
from everproof.ledger import Ledger
from everproof.storage import Storage, Transaction
from everproof.work import Work

Shown: TypeAlias = PasskeyShown | CodeShown

MAX_FACTORS: Final = 32
"""Of one person: more are nobody's that carries them."""

SIGN_IN: Final = "sign-in"
"""What a challenge is about that anybody may answer."""


class CopiedError(RefusedError):
    """A passkey's count does not follow: it is suspended from now on."""

    code = "copied"


class Held(msgspec.Struct, frozen=True):
    """What a person has."""

    factors: tuple[Factor, ...]
    codes_left: int = 0

    def find(self, id_: str) -> Factor:
        """One of them.

        Raises:
            NotFoundError: it is not.
        """
        for factor in self.factors:
            if factor.id == id_:
                return factor
        raise NotFoundError(f"there is no factor {id_}", todo="everproof factors list shows yours")

    @property
    def strong(self) -> frozenset[str]:
        """Those that count. One that is suspended counts: else whoever gets it suspended could put theirs first."""
        return frozenset(one.id for one in self.factors if one.kind in STRONG and one.state != "pending")

    @property
    def methods(self) -> tuple[Method, ...]:
        """What can be shown now."""
        return tuple(dict.fromkeys(METHODS[one.kind] for one in self.factors if one.state == "live"))


class Factors:
    """Everyone's factors. ``name`` is what it is called as a source of facts."""

    name: Final = "factors"
    says: Final = frozenset({"factors", "passkey_backed_up", "passkey_backup_eligible"})

    def __init__(
        self,
        storage: Storage,
        *,
        keyring: Keyring,
        signing: SigningKeys,
        ledger: Ledger,
        directory: Directory,
        sessions: Sessions,
        work: Work,
        notices: Notices,
        issuer: str,
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._sessions = sessions
        self.telling = Telling(storage, ledger, notices)
        challenges = Challenges(storage.clock, server=issuer, key=signing.derived("everproof/factors/v1"))
        self.passkeys = Passkeys(storage, self.telling, challenges)
        self.passwords = Passwords(storage, keyring, self.telling, server=self.passkeys.party.id)
        self.recoveries = Recoveries(
            storage,
            work,
            self.telling,
            sessions,
            lambda tx, factor: self.passkeys.end_sessions(tx, factor, "recovered"),
        )
        self.rules = Rules()

    def follow(self, files: Mapping[str, bytes]) -> None:
        """Accept what a bundle's files say from now on."""
        self.rules = rules_of(files)
        self.passkeys.rules = self.rules.passkeys
        self.passwords.rules = self.rules.totp
        self.recoveries.rules = self.rules.recovery

    def forget(self, tx: Transaction, before: datetime) -> None:
        """Remove what nobody looks at any more; of recoveries, what was over before ``before``.

        Wrong codes are forgotten by the right one alone: who guesses slowly is counted like who guesses fast.
        """
        store.forget_pending(tx, tx.now - CONFIRM_WITHIN)
        recovery_store.forget(tx, before)

    # ── what a person has ──────────────────────────────────────────────────────────────────────────────────────────

    def held(self, person: Ref) -> Held:
        """A person's factors. A query."""
        with self._storage.reading() as connection:
            factors = tuple(kept.factor for kept in store.of_person(connection, person))
            codes = next((one.id for one in factors if one.kind == "recovery-codes"), None)
            return Held(factors, 0 if codes is None else store.codes_left(connection, codes))

    def owner(self, id_: str) -> Ref:
        """Whose a factor is. A query.

        Raises:
            NotFoundError: there is no such factor.
        """
        with self._storage.reading() as connection:
            kept = store.find(connection, id_)
        if kept is None:
            raise NotFoundError(f"there is no factor {id_}", todo="everproof factors list shows yours")
        return kept.factor.person

    def attempts(self, person: Ref, method: Method) -> Attempts:
        """What was tried in vain. A query."""
        with self._storage.reading() as connection:
            return store.attempts_of(connection, person, method)

    def resource(self, person: Ref, asker: Ref, held: Held, factor: Factor | None = None, kind: str = "") -> Resource:
        """A factor of ``person`` as the object of an action; without ``factor``, one to come."""
        strong = held.strong
        attributes: dict[str, str | bool] = {
            "kind": factor.kind if factor is not None else kind,
            "own": person == asker,
            "first": not strong,
            "last": factor is not None and strong == {factor.id},
            "principal_id": person.id,
        }
        return Resource(
            ref=Ref("Factor", factor.id if factor is not None else "new"), attributes=attributes, parents=(MAIN_SPACE,)
        )

    def require_still(self, tx: Transaction, about: Resource, person: Ref) -> None:
        """Hold that what was decided about is still nobody's first factor to come, and still not their last one.

        Raises:
            RefusedError: another was added or removed meanwhile. Nothing was written.
        """
        now = Held(tuple(kept.factor for kept in store.of_person(tx.connection, person))).strong
        first, last = not now, now == {about.ref.id}
        if about.attributes["first"] and not first:
            raise RefusedError("another factor was added meanwhile", todo="show that one, then add this one")
        if last and not about.attributes["last"]:
            raise RefusedError("it is the last one by now", todo="add another one first")

    def require_room(self, held: Held) -> None:
        """Hold that a person may have one more.

        Raises:
            RefusedError: they have as many as anybody may.
        """
        if len(held.factors) >= MAX_FACTORS:
            raise RefusedError(f"nobody may have more than {MAX_FACTORS} factors", todo="remove one first")

    def rename(self, tx: Transaction, person: Ref, id_: str, name: str) -> Factor:
        """Call a factor something else.

        Raises:
            NotFoundError: the person has no such factor.
        """
        kept = store.find(tx.connection, id_)
        if kept is None or kept.factor.person != person:
            raise NotFoundError(f"there is no factor {id_}")
        factor = msgspec.structs.replace(kept.factor, name=name_of(name))
        store.put(tx, factor)
        return factor

    def remove(self, tx: Transaction, person: Ref, id_: str, by: Ref, *, session: str = "") -> Factor:
        """Take a factor off the record; the sessions that it began end, and in all but ``session`` it counts no more.

        Raises:
            NotFoundError: the person has no such factor.
        """
        kept = store.find(tx.connection, id_)
        if kept is None or kept.factor.person != person:
            raise NotFoundError(f"there is no factor {id_}")
        factor = kept.factor
        store.remove(tx, [factor.id])
        self.passkeys.end_sessions(tx, factor, "its passkey was removed")
        self._sessions.forget_factor(tx, person, METHODS[factor.kind], but=session)
        self.telling.changed(tx, person)
        whose = "you" if by == person else str(by)
        self.telling.owner(
            tx, person, "A factor was removed from your account", f"{named(factor)} was removed by {whose}."
        )
        return factor

    # ── what is shown in a session ─────────────────────────────────────────────────────────────────────────────────

    def session_of(self, proof: Proof, id_: str = "") -> Session:
        """The caller's own session, or another of the same person's.

        Raises:
            NotFoundError: there is no such session of theirs.
            RefusedError: the caller has none.
        """
        own = proof.claims.get("session")
        if not id_ and own is None:
            raise RefusedError("this needs a session", todo="sign in, or log in again: everproof login")
        session = self._sessions.find(id_ or str(own))
        if session is None or session.principal != proof.principal.ref:
            raise NotFoundError("you have no such session", todo="everproof sessions list shows yours")
        return session

    async def passkey_shown(self, found: PasskeyShown) -> PasskeyShown:
        """``found``, unless its credential was copied.

        Raises:
            CopiedError: it was, and is suspended.
            ReplayedError: it is an answer that was given before.
        """
        if found.copied:
            await self._storage.write(lambda tx: self._suspend(tx, found))
            raise CopiedError(
                "this authenticator counts otherwise than before, so somebody may have a copy: it is suspended",
                todo="use another factor, remove this one, and tell an administrator",
            )
        return found

    def _suspend(self, tx: Transaction, found: PasskeyShown) -> None:
        self.passkeys.suspend(tx, found)
        self._sessions.forget_factor(tx, found.factor.person, found.method)

    def settle(self, tx: Transaction, shown: Shown, session: Session) -> Session:
        """Use up what was shown, and let the session know.

        Raises:
            RefusedError: the session or the factor has ended meanwhile, or it is a replay. Nothing was written.
        """
        if self._sessions.find(session.id) is None:
            raise RefusedError("the session has ended", todo="sign in again")
        self._spend(tx, shown)
        return self._sessions.show_factor(tx, session.id, shown.method, tx.now, shown.strength, of=shown.factor.person)

    def _spend(self, tx: Transaction, shown: Shown) -> Factor:
        if isinstance(shown, PasskeyShown):
            return self.passkeys.settle_shown(tx, shown)
        return self.passwords.settle(tx, shown)

    # ── facts ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def facts(self, proof: Proof, _action: Action, _resource: Resource, at: datetime) -> Iterable[Fact]:
        """Which kinds a person has, and what the passkey that the session was shown said of itself. From memory."""
        person = proof.principal.ref
        if person.type != "User":
            return ()
        facts = [Fact("factors", sorted(self.telling.kinds(person)), at, self.name)]
        id_ = proof.claims.get("session")
        session = self._sessions.find(id_) if id_ is not None else None
        if session is not None and session.principal == person:
            method = session.second_factor
            if method is not None and method in WEBAUTHN:
                said, shown = session.strength.get(method, {}), session.factors[method]
                known = [name for name in ("backed_up", "backup_eligible") if name in said]
                facts += [Fact(f"passkey_{name}", said[name], shown, self.name) for name in known]
        return facts


def step_up_of(session: Session) -> str:
    """What a challenge is about that is shown in a session."""
    return f"step-up {session.principal} {session.id}"


def name_of(text: str) -> str:
    """What a person calls a factor.

    Raises:
        InputError: nothing, or not a name.
    """
    name = text.strip()
    if not name:
        raise InputError("say what to call it", place="name")
    return shown_name(name)
