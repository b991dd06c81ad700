"""Passkeys and security keys: enrolling them, and what showing one says.

Both are credentials of WebAuthn. A passkey verifies its user each time, by a PIN, a finger or a face; a security key
shows that somebody touched it, and counts for that alone.
"""

import os
from typing import Any, Final

import msgspec

from everproof.identity import credential_store
from everproof.identity.challenges import LIFETIME, Challenge, Challenges
from everproof.identity.credentials import end_credentials
from everproof.identity.factors import store
from everproof.identity.factors.attestation import fingerprints
from everproof.identity.factors.records import METHODS, WEBAUTHN, Factor, Kind, Method, Passkey
from everproof.identity.factors.rules import PasskeyRules
from everproof.identity.factors.telling import Telling, named
from everproof.identity.factors.webauthn import (
    ALGORITHMS,
    Asserted,
    Assertion,
    NewCredential,
    Registered,
    RejectedError,
    RelyingParty,
    challenge_of,
    hash_of,
)
from everproof.identity.records import FOREVER, Credential
from everproof.identity.replay_store import spend
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import ConflictError, RefusedError
from everproof.kernel.ids import new_id
from everproof.kernel.words import Principal, Ref
from everproof.storage import Storage, Transaction

TITLE: Final = "Everproof"
HANDLE_BYTES: Final = 32
TIMEOUT_MS: Final = int(LIFETIME.total_seconds() * 1000)
CREDENTIAL: Final = "passkey"
"""The kind of the credential that stands for one in the lineage: sessions that it began end with it."""


class Enrolling(msgspec.Struct, frozen=True):
    """A new passkey or security key that holds, not yet on record."""

    kind: Kind
    registered: Registered
    transports: tuple[str, ...]
    challenge: Challenge

    @property
    def strength(self) -> dict[str, bool]:
        """How it was shown, by being made."""
        new = self.registered
        return {
            "user_verified": new.user_verified,
            "backed_up": new.backed_up,
            "backup_eligible": new.backup_eligible,
            "attested": bool(new.root),
        }


class Shown(msgspec.Struct, frozen=True):
    """A passkey or security key that was shown. ``copied``: its count does not follow what it was, so there are two."""

    factor: Factor
    asserted: Asserted
    challenge: Challenge
    copied: bool

    @property
    def method(self) -> Method:
        """What a session says was shown."""
        return METHODS[self.factor.kind]

    @property
    def strength(self) -> dict[str, bool]:
        """How it was shown."""
        passkey = self.factor.passkey
        return {
            "user_verified": self.asserted.user_verified,
            "backed_up": self.asserted.backed_up,
            "backup_eligible": self.asserted.backup_eligible,
            "attested": passkey is not None and passkey.attested,
        }


class Passkeys:
    """Passkeys and security keys at this server."""

    def __init__(self, storage: Storage, telling: Telling, challenges: Challenges) -> None:
        self._storage = storage
        self._telling = telling
        self._challenges = challenges
        self.party = RelyingParty(challenges.server)
        self.rules = PasskeyRules()

    # ── enrolling ──────────────────────────────────────────────────────────────────────────────────────────────────

    def options(self, tx: Transaction, person: Principal, kind: Kind, session: str) -> dict[str, Any]:
        """What a browser asks an authenticator for (``PublicKeyCredentialCreationOptionsJSON``).

        Raises:
            RefusedError: the rules accept none of this kind.
        """
        if kind == "security-key" and self.rules.user_verification == "required":
            raise RefusedError("security keys that only show a touch are not accepted here", todo="add a passkey")
        ref = person.ref
        if (handle := store.handle_of(tx.connection, ref)) is None:
            handle = os.urandom(HANDLE_BYTES)
            store.add_handle(tx, ref, handle)
        held = [kept.factor for kept in store.of_person(tx.connection, ref)]
        verifies = kind == "passkey"
        return {
            "rp": {"id": self.party.id, "name": TITLE},
            "user": {"id": b64url(handle), "name": ref.id, "displayName": str(person.attributes.get("name") or ref.id)},
            "challenge": self._challenges.new(_enrolling(kind, ref, session)).text,
            "pubKeyCredParams": [{"type": "public-key", "alg": int(alg)} for alg in ALGORITHMS],
            "timeout": TIMEOUT_MS,
            "excludeCredentials": [_described(one.passkey) for one in held if one.passkey is not None],
            "authenticatorSelection": {
                "residentKey": "required" if verifies else "discouraged",
                "requireResidentKey": verifies,
                "userVerification": "required" if verifies else "discouraged",
            },
            "attestation": "direct" if self.rules.roots else "none",
            "extensions": {"credProps": True},
        }

    def read(self, person: Ref, kind: Kind, session: str, response: NewCredential) -> Enrolling:
        """What an authenticator has made, for this person in this session.

        Raises:
            UnauthenticatedError: it does not hold.
            RefusedError: the rules do not accept it.
            InputError: it cannot be read.
        """
        challenge = self._challenges.read(challenge_of(response.response), _enrolling(kind, person, session))
        registered = self.party.registered(response, challenge=challenge.text, rules=self.rules)
        if kind == "passkey" and not registered.user_verified:
            raise RejectedError("the authenticator did not verify its user", todo="set a PIN, a finger or a face on it")
        return Enrolling(kind, registered, response.response.transports, challenge)

    def settle(self, tx: Transaction, person: Ref, name: str, found: Enrolling) -> Factor:
        """Put it on record.

        Raises:
            ConflictError: the credential is on record already, whoever's it is.
            ReplayedError: its challenge was used. Nothing was written.
        """
        new = found.registered
        hash_ = hash_of(new.credential)
        if store.find_credential(tx.connection, hash_) is not None:
            raise ConflictError("this authenticator's credential is on record already", todo="use another one")
        spend(tx, found.challenge.id, found.challenge.expires)
        root = Credential(
            id=new_id("cred"), parent=None, kind=CREDENTIAL, principal=person, key=None, issued=tx.now, expires=FOREVER,
            source={"format": new.format, "root": new.root, "aaguid": new.aaguid},
        )  # fmt: skip
        credential_store.insert_credential(tx, root)
        factor = Factor(
            id=new_id("fac"),
            person=person,
            kind=found.kind,
            state="live",
            name=name,
            created=tx.now,
            passkey=Passkey(
                credential=b64url(new.credential),
                lineage=root.id,
                public_key=b64url(new.public_key),
                aaguid=new.aaguid,
                root=new.root,
                format=new.format,
                transports=found.transports,
                backup_eligible=new.backup_eligible,
                backed_up=new.backed_up,
            ),
        )
        store.add(tx, factor, credential=hash_, counter=new.sign_count)
        self._telling.enrolled(tx, factor)
        return factor

    # ── showing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def request(self, about: str, held: list[Factor]) -> dict[str, Any]:
        """What a browser asks an authenticator to show (``PublicKeyCredentialRequestOptionsJSON``).

        ``held`` empty: whichever the person chooses.
        """
        known = [one for one in held if one.passkey is not None and one.state == "live"]
        verified = not known or all(one.kind == "passkey" for one in known)
        return {
            "challenge": self._challenges.new(about).text,
            "timeout": TIMEOUT_MS,
            "rpId": self.party.id,
            "allowCredentials": [_described(one.passkey) for one in known if one.passkey is not None],
            "userVerification": "required" if verified else "preferred",
        }

    def shown(self, about: str, response: Assertion, *, person: Ref | None) -> Shown:
        """What was shown; ``person`` None: by whoever it is. One query or two.

        Raises:
            UnauthenticatedError: it does not hold, is nobody's or another's, or is suspended.
            RefusedError: the rules do not accept it any more.
            InputError: it cannot be read.
        """
        challenge = self._challenges.read(challenge_of(response.response), about)
        hash_ = hash_of(from_b64url(response.id))
        with self._storage.reading() as connection:
            kept = store.find_credential(connection, hash_)
            handle = None if kept is None else store.handle_of(connection, kept.factor.person)
        if kept is None or (person is not None and kept.factor.person != person):
            raise RejectedError("this authenticator is not on record here", todo="use one that is, or another factor")
        factor, passkey = kept.factor, kept.factor.passkey
        assert passkey is not None  # only these have a credential
        said = response.response.handle
        if (said is None and person is None) or (said and from_b64url(said) != handle):
            raise RejectedError("this authenticator knows somebody else by this credential")
        if factor.state != "live":
            raise RejectedError(
                f"this {factor.kind.replace('-', ' ')} is suspended: {factor.suspended_for}",
                todo="use another factor, remove this one and add it anew",
            )
        public_key = from_b64url(passkey.public_key)
        asserted = self.party.asserted(response, challenge=challenge.text, public_key=public_key)
        self._require_accepted(factor, passkey, asserted, alone=person is None)
        return Shown(factor, asserted, challenge, _is_copied(kept.counter, asserted.sign_count))

    def _require_accepted(self, factor: Factor, passkey: Passkey, asserted: Asserted, *, alone: bool) -> None:
        verified = asserted.user_verified
        if not verified and (alone or factor.kind == "passkey" or self.rules.user_verification == "required"):
            raise RejectedError("the authenticator did not verify its user", todo="give it its PIN, finger or face")
        if asserted.backup_eligible != passkey.backup_eligible:
            raise RejectedError("the authenticator says otherwise than before whether it can be copied")
        if asserted.backed_up and not self.rules.synced:
            raise RefusedError("passkeys that are kept in a cloud are not accepted here", todo="use a security key")
        made = not self.rules.roots or passkey.root in fingerprints(self.rules.roots)
        if not made or (self.rules.aaguids and passkey.aaguid not in self.rules.aaguids):
            raise RefusedError("authenticators of this make are not accepted any more", todo="use another factor")

    def settle_shown(self, tx: Transaction, shown: Shown) -> Factor:
        """Note that it was shown, and use its challenge up.

        Raises:
            RefusedError: it was removed, suspended or shown otherwise meanwhile, or is a replay. Nothing was written.
        """
        kept = store.find(tx.connection, shown.factor.id)
        if kept is None or kept.factor.state != "live" or _is_copied(kept.counter, shown.asserted.sign_count):
            raise RefusedError("this authenticator was removed, suspended or used elsewhere just now", todo="try again")
        spend(tx, shown.challenge.id, shown.challenge.expires)
        assert kept.factor.passkey is not None
        passkey = msgspec.structs.replace(kept.factor.passkey, backed_up=shown.asserted.backed_up)
        factor = msgspec.structs.replace(kept.factor, used=tx.now, passkey=passkey)
        counted = store.count_up(tx, factor, shown.asserted.sign_count)
        assert counted  # looked at above, in the same change
        return factor

    def suspend(self, tx: Transaction, shown: Shown) -> None:
        """Let a credential that was copied show nothing any more, and end the sessions that it began.

        Raises:
            ReplayedError: it is the same answer once more, which says nothing of copies. Nothing was written.
        """
        kept = store.find(tx.connection, shown.factor.id)
        if kept is None or kept.factor.state != "live":
            return
        spend(tx, shown.challenge.id, shown.challenge.expires)
        why = f"it counted {shown.asserted.sign_count} after {kept.counter}, so it may have been copied"
        factor = msgspec.structs.replace(kept.factor, state="suspended", suspended_for=why)
        store.put(tx, factor)
        self.end_sessions(tx, factor, "its passkey was suspended")
        self._telling.changed(tx, factor.person)
        self._telling.event(
            tx, factor.person, "factor-suspended", factor=factor.id, factor_kind=factor.kind,
            counted=shown.asserted.sign_count, before=kept.counter,
        )  # fmt: skip
        self._telling.owner(
            tx, factor.person, "A factor of yours was suspended", f"{named(factor)} was suspended: {why}."
        )

    def end_sessions(self, tx: Transaction, factor: Factor, reason: str) -> None:
        """End the sessions that a passkey began, and all that came of them."""
        if factor.kind in WEBAUTHN and factor.passkey is not None and factor.passkey.lineage:
            end_credentials(tx, [factor.passkey.lineage], reason)


def _enrolling(kind: Kind, person: Ref, session: str) -> str:
    return f"enrol {kind} {person} {session}"


def _is_copied(before: int, now: int) -> bool:
    """Whether the count does not follow (WebAuthn, section 6.1.1). An authenticator without a count always says 0."""
    return (before != 0 or now != 0) and now <= before


def _described(passkey: Passkey | None) -> dict[str, Any]:
    assert passkey is not None
    described: dict[str, Any] = {"type": "public-key", "id": passkey.credential}
    return {**described, "transports": list(passkey.transports)} if passkey.transports else described
