from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import delete, insert, select, update

from everproof.kernel.errors import RefusedError
from everproof.keys import Keyring, SealError, SigningKeys, TokenAlgorithm, public_jwk, store, thumbprint
from everproof.keys.signing import LONGEST_TOKEN, OVERLAP, ROTATE_AFTER
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock
from tests.keys.conftest import Reopen

House = tuple[Storage, Keyring]
TOKENS: list[TokenAlgorithm] = ["ES256", "RS256"]


@pytest.fixture
def signing(house: House) -> SigningKeys:
    return SigningKeys(*house)


def published(signing: SigningKeys, algorithm: str) -> set[str]:
    return {jwk["kid"] for jwk in signing.public_jwks()["keys"] if jwk["alg"] == algorithm}


def table(storage: Storage) -> list[Any]:
    with storage.reading() as connection:
        return list(connection.execute(select(store.signing_keys)))


def test_the_first_start_makes_a_key_of_each_kind_and_a_restart_keeps_them(
    signing: SigningKeys, reopen: Reopen
) -> None:
    again = SigningKeys(*reopen())
    for algorithm in ("ES256", "RS256", "Ed25519"):
        key = signing.current(algorithm)
        assert key.algorithm == algorithm
        assert key.kid == again.current(algorithm).kid == thumbprint(public_jwk(key.private.public_key()))
    assert sorted(signing.public_jwks()["keys"], key=str) == sorted(again.public_jwks()["keys"], key=str)
    private = signing.current("RS256").private
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048


def test_the_set_holds_the_present_and_the_next_token_keys_and_no_private_member(signing: SigningKeys) -> None:
    keys = signing.public_jwks()["keys"]
    assert sorted(key["alg"] for key in keys) == ["ES256", "ES256", "RS256", "RS256"]
    assert all(set(key) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"} for key in keys)
    assert all(key["use"] == "sig" and key["kid"] == thumbprint(key) for key in keys)
    assert signing.verification_key(signing.current("Ed25519").kid) is None
    assert signing.verification_key("unknown") is None


def test_a_signature_verifies_with_the_published_key(signing: SigningKeys) -> None:
    key = signing.current("ES256")
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    signature = key.private.sign(b"token", ec.ECDSA(SHA256()))
    public = signing.verification_key(key.kid)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signature, b"token", ec.ECDSA(SHA256()))


@pytest.mark.parametrize("algorithm", TOKENS)
def test_a_rotation_is_noticed_by_nobody(
    house: House, signing: SigningKeys, clock: SettableClock, algorithm: TokenAlgorithm
) -> None:
    storage, _ = house
    old = signing.current(algorithm).kid
    [announced] = published(signing, algorithm) - {old}
    assert storage.write_now(lambda tx: signing.rotate(tx, algorithm)) == announced
    assert signing.current(algorithm).kid == announced
    assert published(signing, algorithm) > {old, announced}
    assert len(published(signing, algorithm)) == 3
    clock.advance(LONGEST_TOKEN)  # a token of the last moment, read by a clock that is behind
    assert signing.verification_key(old) is not None
    clock.advance(OVERLAP - LONGEST_TOKEN)
    assert signing.verification_key(old) is None
    assert old not in published(signing, algorithm)
    assert signing.verification_key(announced) is not None


def test_an_old_private_key_is_destroyed_at_once_and_the_rest_when_its_tokens_are_dead(
    house: House, signing: SigningKeys, clock: SettableClock, reopen: Reopen
) -> None:
    storage, keyring = house
    old = signing.current("ES256")
    storage.write_now(lambda tx: signing.rotate(tx, "ES256"))
    [row] = [row for row in table(storage) if row.state == "retired"]
    assert row.kid == old.kid
    assert set(msgspec.json.decode(signing._contents(row))) == {"kty", "crv", "x", "y"}
    again = SigningKeys(*reopen())
    assert again.verification_key(old.kid) is not None
    clock.advance(OVERLAP)
    storage, keyring = reopen()
    signing = SigningKeys(storage, keyring)
    storage.write_now(lambda tx: signing.rotate(tx, "ES256"))
    assert old.kid not in {row.kid for row in table(storage)}


def test_a_key_that_leaked_verifies_nothing_any_more(house: House, signing: SigningKeys) -> None:
    storage, _ = house
    leaked = signing.current("RS256").kid
    storage.write_now(lambda tx: signing.rotate(tx, "RS256", overlap=False))
    assert signing.verification_key(leaked) is None
    assert leaked not in published(signing, "RS256")


def test_a_rotation_that_is_rolled_back_never_was(house: House, signing: SigningKeys) -> None:
    storage, _ = house
    before = signing.current("ES256").kid, published(signing, "ES256"), table(storage)

    def fails(tx: Transaction) -> None:
        signing.rotate(tx, "ES256")
        raise RefusedError("after all, no")

    with pytest.raises(RefusedError):
        storage.write_now(fails)
    assert (signing.current("ES256").kid, published(signing, "ES256"), table(storage)) == before


def test_a_key_is_due_after_its_time(house: House, signing: SigningKeys, clock: SettableClock) -> None:
    storage, _ = house
    assert signing.due() == ()
    clock.advance(ROTATE_AFTER)
    assert signing.due() == ("ES256", "RS256")
    storage.write_now(lambda tx: signing.rotate(tx, "ES256"))
    assert signing.due() == ("RS256",)


async def test_a_started_server_rotates(house: House, signing: SigningKeys) -> None:
    storage, _ = house
    await storage.start()
    started = await storage.write(lambda tx: signing.rotate(tx, "ES256"))
    assert signing.current("ES256").kid == started
    await storage.stop()


def test_who_writes_to_the_database_can_neither_prolong_nor_revive_a_key(
    house: House, signing: SigningKeys, reopen: Reopen
) -> None:
    storage, _ = house
    storage.write_now(lambda tx: signing.rotate(tx, "ES256"))
    columns = store.signing_keys.c
    for change in ({"ends": None}, {"ends": 1 << 50}, {"state": "current"}, {"algorithm": "RS256"}):

        def tamper(tx: Transaction, change: dict[str, Any] = change) -> None:
            tx.connection.execute(update(store.signing_keys).where(columns.state == "retired").values(**change))
            with pytest.raises(SealError):
                signing._load(tx.connection)
            raise RefusedError("put back")

        with pytest.raises(RefusedError):
            storage.write_now(tamper)


def test_who_writes_to_the_database_cannot_add_a_key(house: House, signing: SigningKeys) -> None:
    storage, _ = house
    [good] = [row for row in table(storage) if row.algorithm == "ES256" and row.state == "current"]
    forged = thumbprint(public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))

    def tamper(tx: Transaction) -> None:
        tx.connection.execute(delete(store.signing_keys).where(store.signing_keys.c.kid == good.kid))
        tx.connection.execute(insert(store.signing_keys), {**good._mapping, "kid": forged})

    storage.write_now(tamper)
    with pytest.raises(SealError):
        SigningKeys(*house)


def test_keys_survive_a_rotation_of_the_keyring(house: House, signing: SigningKeys, reopen: Reopen) -> None:
    storage, keyring = house
    kid = signing.current("ES256").kid
    storage.write_now(keyring.rotate)
    storage.write_now(keyring.rewrap)
    assert SigningKeys(*reopen()).current("ES256").kid == kid


def test_a_repr_tells_nothing_of_a_private_key(signing: SigningKeys) -> None:
    private = signing.current("ES256").private
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    value = private.private_numbers().private_value
    shown = repr(signing.current("ES256")) + repr(signing._snapshot)
    assert str(value) not in shown
    assert f"{value:x}" not in shown
    assert "PRIVATE KEY" not in shown


def test_clock_skew_is_part_of_the_overlap() -> None:
    assert timedelta(seconds=30) == OVERLAP - LONGEST_TOKEN
