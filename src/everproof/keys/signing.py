"""The keys that sign: tokens (ES256, RS256) and the ledger's checkpoints (Ed25519).

A token key is published before it signs and verifies after it has stopped, so that a rotation is noticed by nobody.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast, get_args

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import Connection, Row

from everproof.kernel.canonical import encode
from everproof.kernel.clock import MAX_SKEW, from_milliseconds, milliseconds
from everproof.keys import store
from everproof.keys.envelope import SealError
from everproof.keys.jwk import PrivateKey, PublicKey, public_jwk, public_key, thumbprint
from everproof.keys.keyring import SERVER, Keyring
from everproof.storage import Storage, Transaction

TokenAlgorithm = Literal["ES256", "RS256"]
Algorithm = Literal["ES256", "RS256", "Ed25519"]
State = Literal["next", "current", "retired"]

LONGEST_TOKEN: Final = timedelta(minutes=60)
"""No token lives longer, so a key that signs no more is needed no longer than this and the skew of two clocks."""

OVERLAP: Final = LONGEST_TOKEN + MAX_SKEW

ROTATE_AFTER: Final = timedelta(days=30)
"""How long a token key signs before `due` asks for the next: long for caches, short for a key that leaked unnoticed."""

RSA_BITS: Final = 2048
"""112 bits of strength, enough for a key of a month; 3072 would triple the cost of a signature."""

CHANGED_TOPIC: Final = "keys.signing"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs now. ``kid`` is its RFC 7638 thumbprint; ``since`` is when it began to sign."""

    kid: str
    algorithm: Algorithm
    private: PrivateKey
    since: datetime


class _Verifier(msgspec.Struct, frozen=True, kw_only=True):
    algorithm: Algorithm
    public: PublicKey
    jwk: dict[str, str]
    ends: datetime | None


class _Snapshot(msgspec.Struct, frozen=True):
    """All signing keys at one moment; replaced as a whole."""

    current: dict[str, SigningKey]
    verifiers: dict[str, _Verifier]


class SigningKeys:
    """The signing keys, in memory; sealed in the database. Made before the storage is started."""

    def __init__(self, storage: Storage, keyring: Keyring) -> None:
        """Load the keys, and make those that are missing.

        Raises:
            SealError: a key in the database was changed.
        """
        self._storage = storage
        self._keyring = keyring
        self._prepared: dict[str, list[PrivateKey]] = {}
        self._snapshot = self._load()
        if any(algorithm not in self._snapshot.current for algorithm in get_args(Algorithm)):
            self.prepare("RS256", 2)
            storage.write_now(self._make_missing)
            self._snapshot = self._load()
        storage.subscribe(CHANGED_TOPIC, self._changed, decides=False)

    def current(self, algorithm: Algorithm) -> SigningKey:
        """The key to sign with now."""
        return self._snapshot.current[algorithm]

    def verification_key(self, kid: str) -> PublicKey | None:
        """The token key of this name, if what it signed may still be valid."""
        verifier = self._snapshot.verifiers.get(kid)
        if verifier is None or (verifier.ends is not None and self._storage.clock.now() >= verifier.ends):
            return None
        return verifier.public

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """The token keys as a JWK set (RFC 7517, section 5): those that sign, will sign, and have signed lately."""
        now = self._storage.clock.now()
        verifiers = self._snapshot.verifiers.values()
        return {"keys": [verifier.jwk for verifier in verifiers if verifier.ends is None or now < verifier.ends]}

    def derived(self, use: str) -> bytes:
        """32 secret bytes for one use, the same in every process of this server and after every start."""
        private = self._snapshot.current["Ed25519"].private
        assert isinstance(private, ed25519.Ed25519PrivateKey)
        derive = HKDF(hashes.SHA256(), 32, salt=None, info=b"everproof/derived/v1\n" + use.encode())
        return derive.derive(private.private_bytes_raw())

    def prepare(self, algorithm: Algorithm, count: int = 1) -> None:
        """Make keys that will be wanted: it takes long, and a transaction in which nothing happens is ended."""
        self._prepared.setdefault(algorithm, []).extend(_generate(algorithm) for _ in range(count))

    def is_due(self, tx: Transaction, algorithm: TokenAlgorithm) -> bool:
        """Whether it is still to be rotated in this commit: another process of this server may have just done so."""
        before = milliseconds(tx.now - ROTATE_AFTER)
        rows = store.read_signing_keys(tx.connection)
        return any((row.algorithm, row.state) == (algorithm, "current") and row.created <= before for row in rows)

    def due(self) -> tuple[TokenAlgorithm, ...]:
        """The algorithms whose key has signed for ``ROTATE_AFTER``."""
        before = self._storage.clock.now() - ROTATE_AFTER
        token_algorithms: tuple[TokenAlgorithm, ...] = get_args(TokenAlgorithm)
        return tuple(name for name in token_algorithms if self._snapshot.current[name].since <= before)

    def rotate(self, tx: Transaction, algorithm: TokenAlgorithm, *, overlap: bool = True) -> str:
        """Sign with the key that was published as the next one; its kid. A new next one is published.

        The old private key is destroyed at once. Its public half verifies until every token it signed has expired;
        without ``overlap`` (the key is known to others) it verifies nothing from the commit on.

        The checkpoint key is not rotated: verifiers know the ledger by it.
        """
        ends = tx.now + OVERLAP if overlap else tx.now
        started = ""
        for row in store.read_signing_keys(tx.connection):
            if row.algorithm != algorithm:
                continue
            if row.state == "current":
                public = encode(public_jwk(self._open(row).public_key()))
                self._put(tx, row.kid, algorithm, "retired", public, created=row.created, ends=ends)
            elif row.state == "next":
                self._put_private(tx, algorithm, "current", self._open(row))
                started = row.kid
            elif from_milliseconds(row.ends) <= tx.now:
                store.remove_signing_key(tx.connection, row.kid)
        self._put_private(tx, algorithm, "next", self._fresh(algorithm))
        tx.publish(CHANGED_TOPIC, started)
        return started

    def _make_missing(self, tx: Transaction) -> None:
        have = {(row.algorithm, row.state) for row in store.read_signing_keys(tx.connection)}
        wanted: tuple[tuple[Algorithm, State], ...] = (
            ("ES256", "current"), ("ES256", "next"), ("RS256", "current"), ("RS256", "next"), ("Ed25519", "current"),
        )  # fmt: skip
        for algorithm, state in wanted:
            if (algorithm, state) not in have:
                self._put_private(tx, algorithm, state, self._fresh(algorithm))

    def _fresh(self, algorithm: Algorithm) -> PrivateKey:
        prepared = self._prepared.get(algorithm)
        return prepared.pop() if prepared else _generate(algorithm)

    def _put_private(self, tx: Transaction, algorithm: Algorithm, state: State, key: PrivateKey) -> None:
        kid = thumbprint(public_jwk(key.public_key()))
        secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self._put(tx, kid, algorithm, state, secret, created=milliseconds(tx.now), ends=None)

    def _put(
        self, tx: Transaction, kid: str, algorithm: Algorithm, state: State, content: bytes, *,
        created: int, ends: datetime | None,
    ) -> None:  # fmt: skip
        until = None if ends is None else milliseconds(ends)
        context = _context(kid, algorithm, state, created, until)
        sealed = self._keyring.seal(tx, SERVER, content, context=context)
        store.put_signing_key(
            tx.connection, kid=kid, algorithm=algorithm, state=state, created=created, ends=until,
            key_id=sealed.key_id, sealed=sealed.data,
        )  # fmt: skip

    def _contents(self, row: Row[Any]) -> bytes:
        context = _context(row.kid, row.algorithm, row.state, row.created, row.ends)
        return self._keyring.open(row.key_id, row.sealed, context=context)

    def _open(self, row: Row[Any]) -> PrivateKey:
        # Its bytes were sealed here, so the slow proof that an RSA key is well made was given when it was made.
        key = load_der_private_key(self._contents(row), None, unsafe_skip_rsa_key_validation=True)
        return cast("PrivateKey", key)

    def _load(self, connection: Connection | None = None) -> _Snapshot:
        if connection is None:
            with self._storage.reading() as fresh:
                return self._load(fresh)
        current: dict[str, SigningKey] = {}
        verifiers: dict[str, _Verifier] = {}
        for row in store.read_signing_keys(connection):
            private = None if row.state == "retired" else self._open(row)
            if private is None:
                public = public_key(msgspec.json.decode(self._contents(row), type=dict[str, str]))
            else:
                public = private.public_key()
            jwk = public_jwk(public)
            if thumbprint(jwk) != row.kid:
                raise SealError("a signing key is not the one that its name says", place=row.kid)
            if private is not None and row.state == "current":
                since = from_milliseconds(row.created)
                key = SigningKey(kid=row.kid, algorithm=row.algorithm, private=private, since=since)
                current[row.algorithm] = key
            if row.algorithm in get_args(TokenAlgorithm):
                ends = None if row.ends is None else from_milliseconds(row.ends)
                jwk = {**jwk, "kid": row.kid, "alg": row.algorithm, "use": "sig"}
                verifiers[row.kid] = _Verifier(algorithm=row.algorithm, public=public, jwk=jwk, ends=ends)
        return _Snapshot(current, verifiers)

    def _changed(self, _key: str, _body: bytes) -> None:
        self._snapshot = self._load()


def _generate(algorithm: Algorithm) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ed25519.Ed25519PrivateKey.generate()


def _context(kid: str, algorithm: str, state: str, created: int, ends: int | None) -> bytes:
    """Ties a key to its row, so that whoever can write to the database can neither add a key nor prolong one."""
    return encode(["everproof", "signing key", kid, algorithm, state, created, ends])
