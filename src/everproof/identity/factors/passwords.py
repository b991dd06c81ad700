"""One-time passwords and recovery codes on record: enrolling them, and what showing one says."""

from datetime import timedelta
from typing import Final

import msgspec

from everproof.identity.factors import recovery_codes, store, throttle, totp
from everproof.identity.factors.records import METHODS, STRONG, Factor, Kind, Method
from everproof.identity.factors.rules import TotpRules
from everproof.identity.factors.store import Kept
from everproof.identity.factors.telling import Telling, named
from everproof.identity.factors.totp import Drawn
from everproof.kernel.errors import ConflictError, RefusedError, UnauthenticatedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Ref
from everproof.keys import Keyring
from everproof.storage import Storage, Transaction

CONFIRM_WITHIN: Final = timedelta(minutes=10)
"""How long a secret waits for its first code: as long as it takes to find the app."""

TELL_AFTER: Final = 5
"""Wrong codes in a row after which the owner is told."""


class WrongCodeError(UnauthenticatedError):
    """A code that does not hold: wrong, old, or used. Which, is nobody's business."""

    code = "wrong-code"
    status = 403


class Secret(msgspec.Struct, frozen=True):
    """A new secret for an app, which is given once: as people type it, as an address, and as a QR code."""

    id: str
    secret: str
    uri: str
    qr: Drawn

    def __repr__(self) -> str:
        return f"Secret({self.id})"


class Codes(msgspec.Struct, frozen=True):
    """New recovery codes, which are given once."""

    factor: Factor
    codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Codes({self.factor.id})"


class CodeShown(msgspec.Struct, frozen=True):
    """A code that holds. ``step`` is what it was of; ``hash`` is what it is kept as."""

    factor: Factor
    step: int = 0
    hash: bytes = b""

    @property
    def method(self) -> Method:
        """What a session says was shown."""
        return METHODS[self.factor.kind]

    @property
    def strength(self) -> dict[str, bool]:
        """How it was shown: who has the code may not be who the app belongs to."""
        return {"user_verified": False}


class Passwords:
    """One-time passwords and recovery codes at this server."""

    def __init__(self, storage: Storage, keyring: Keyring, telling: Telling, *, server: str) -> None:
        self._storage = storage
        self._keyring = keyring
        self._telling = telling
        self._server = server
        self.rules = TotpRules()

    # ── enrolling ──────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, tx: Transaction, person: Ref, name: str, *, instead: bool = False) -> Secret:
        """A secret for an app, good from its first code on; one that waits for its first code ends.

        ``instead``: it is to take the place of all that the person has.

        Raises:
            RefusedError: one-time passwords are not accepted.
            ConflictError: the person has an app already. Nothing was written.
        """
        if not self.rules.accepted:
            raise RefusedError("one-time passwords are not accepted here", todo="add a passkey")
        held = [kept.factor for kept in store.of_person(tx.connection, person) if kept.factor.kind == "totp"]
        if not instead and any(factor.state != "pending" for factor in held):
            raise ConflictError("you have an app for one-time passwords already", todo="remove that one first")
        store.remove(tx, [factor.id for factor in held if factor.state == "pending"])
        secret = totp.new_secret()
        factor = Factor(id=new_id("fac"), person=person, kind="totp", state="pending", name=name, created=tx.now)
        sealed = self._keyring.seal(tx, person, secret, context=_context(factor.id))
        store.add(tx, factor, key_id=sealed.key_id, sealed=sealed.data)
        uri = totp.address(secret, server=self._server, person=person.id)
        return Secret(factor.id, totp.written(secret), uri, totp.drawn(uri))

    def confirm(self, tx: Transaction, shown: CodeShown) -> Factor:
        """Let a secret be good, whose first code was shown.

        Raises:
            RefusedError: it waited too long, or another has taken its place. Nothing was written.
        """
        kept = store.find(tx.connection, shown.factor.id)
        if kept is None or kept.factor.state != "pending" or tx.now >= kept.factor.created + CONFIRM_WITHIN:
            raise RefusedError("this secret waited too long for its first code", todo="begin again")
        factor = msgspec.structs.replace(kept.factor, state="live", created=tx.now)
        store.count_up(tx, factor, shown.step, state="pending")
        store.clear_attempts(tx, factor.person, "totp")
        self._telling.enrolled(tx, factor)
        return factor

    def make_codes(self, tx: Transaction, person: Ref) -> Codes:
        """New recovery codes; the old ones end.

        Raises:
            ConflictError: the person has nothing that they could lose. Nothing was written.
        """
        held = [kept.factor for kept in store.of_person(tx.connection, person)]
        if not any(factor.kind in STRONG and factor.state == "live" for factor in held):
            raise ConflictError("recovery codes stand in for a factor, and you have none", todo="add one first")
        store.remove(tx, [factor.id for factor in held if factor.kind == "recovery-codes"])
        factor = Factor(
            id=new_id("fac"), person=person, kind="recovery-codes", state="live", name="recovery codes", created=tx.now
        )
        store.add(tx, factor)
        codes = recovery_codes.new_codes()
        store.add_codes(tx, factor.id, [recovery_codes.hash_of(code, factor=factor.id) for code in codes])
        store.clear_attempts(tx, person, "recovery-code")
        self._telling.enrolled(tx, factor)
        return Codes(factor, codes)

    # ── showing ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def shown(self, person: Ref, kind: Kind, code: str, *, pending: str = "") -> CodeShown:
        """A code of the person's. It is counted as one in vain until it is settled; ``pending`` names a new secret.

        Raises:
            ThrottledError: too many were in vain; this one was not looked at.
            WrongCodeError: it does not hold.
            RefusedError: there is nothing whose codes could be shown.
        """
        kept = self._held(person, kind, pending)
        tried = await self._storage.write(lambda tx: throttle.count(tx, person, METHODS[kind]))
        found = self._look(kept, code)
        if found is None:
            await self._storage.write(lambda tx: self._failed(tx, kept.factor, tried.failures))
            raise WrongCodeError("the code does not hold", todo="wait for the next one, and look at the device's clock")
        return found

    def settle(self, tx: Transaction, shown: CodeShown) -> Factor:
        """Use the code up.

        Raises:
            RefusedError: it was used meanwhile, or its factor has ended. Nothing was written.
        """
        kept = store.find(tx.connection, shown.factor.id)
        if kept is None or kept.factor.state != "live":
            raise RefusedError("the factor was removed or suspended just now")
        factor = msgspec.structs.replace(kept.factor, used=tx.now)
        if factor.kind == "totp":
            if not store.count_up(tx, factor, shown.step):
                raise RefusedError("the code was used already", todo="wait for the next one")
        else:
            if not store.use_code(tx, factor.id, shown.hash):
                raise RefusedError("the code was used already", todo="use another one")
            store.put(tx, factor)
            left = store.codes_left(tx.connection, factor.id)
            text = f"One of your recovery codes was used; {left} are left."
            self._telling.owner(tx, factor.person, "A recovery code of yours was used", text)
        store.clear_attempts(tx, factor.person, shown.method)
        return factor

    def _held(self, person: Ref, kind: Kind, pending: str) -> Kept:
        wanted = "pending" if pending else "live"
        with self._storage.reading() as connection:
            for kept in store.of_person(connection, person):
                factor = kept.factor
                if factor.kind == kind and factor.state == wanted and pending in {"", factor.id}:
                    return kept
        raise RefusedError("you have no factor of this kind", todo="everproof factors list shows those that you have")

    def _look(self, kept: Kept, code: str) -> CodeShown | None:
        factor = kept.factor
        if factor.kind == "totp":
            assert kept.key_id is not None
            assert kept.sealed is not None
            secret = self._keyring.open(kept.key_id, kept.sealed, context=_context(factor.id))
            step = totp.step_shown(secret, code, self._storage.clock.now())
            return None if step is None or step <= kept.counter else CodeShown(factor, step=step)
        hash_ = recovery_codes.hash_of(code, factor=factor.id)
        with self._storage.reading() as connection:
            good = store.has_code(connection, factor.id, hash_)
        return CodeShown(factor, hash=hash_) if good else None

    def _failed(self, tx: Transaction, factor: Factor, failures: int) -> None:
        said = {"factor": factor.id, "factor_kind": factor.kind}
        self._telling.event(tx, factor.person, "factor-failed", failures=failures, **said)
        if failures == TELL_AFTER:
            text = f"{failures} wrong codes in a row were tried, by somebody who was signed in as you."
            self._telling.owner(tx, factor.person, "Wrong codes were tried on your account", text)
        if failures >= throttle.MAX_FAILURES and factor.state == "live":
            kept = store.find(tx.connection, factor.id)
            if kept is None or kept.factor.state != "live":
                return
            why = f"{failures} wrong codes in a row were tried"
            suspended = msgspec.structs.replace(kept.factor, state="suspended", suspended_for=why)
            store.put(tx, suspended)
            self._telling.changed(tx, factor.person)
            self._telling.event(tx, factor.person, "factor-suspended", **said)
            self._telling.owner(tx, factor.person, "A factor of yours was suspended", f"{named(factor)}: {why}.")


def _context(factor: str) -> bytes:
    return b"factor totp\0" + factor.encode()
