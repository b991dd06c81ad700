import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from everproof.identity import Credentials, Directory, Proofs, roster
from everproof.identity.records import Reason
from everproof.identity.ssh_keys import SshKeyError, read_blob, ssh_fingerprint_of_jwk
from everproof.kernel.canonical import b64url, encode
from everproof.kernel.errors import ConflictError, InputError, NotFoundError, UnauthenticatedError
from everproof.kernel.words import Principal, Ref
from everproof.keys import public_jwk, thumbprint
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock
from tests.identity.people import ALICE, BOB, DAY, SERVER, credential, enrolled
from tests.identity.ssh import Key, SecurityKey, string


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return Directory(storage)


def jwk_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, str]:
    return public_jwk(key.public_key())


async def test_principal_is_known_as_soon_as_its_change_is_durable(storage: Storage, directory: Directory) -> None:
    await enrolled(storage, ALICE)
    assert directory.principal(ALICE) == Principal(
        ref=ALICE,
        attributes={"name": "Alice", "active": True, "email": "alice@x.test", "emails": ["alice@x.test"]},
        parents=(Ref("Group", "developers"), Ref("Space", "main")),
    )
    assert directory.principal(ALICE) is directory.principal(ALICE)
    assert directory.of_email("Alice@X.test") == ALICE


async def test_a_restart_knows_the_same(storage: Storage, directory: Directory, tmp_path: Path) -> None:
    key = Key(tmp_path)
    await enrolled(storage, ALICE, key.line)
    await storage.write(lambda tx: roster.put_group(tx, "developers", groups=["staff"]))
    again = Directory(storage)
    for one in (directory, again):
        assert one.ancestors(["developers"]) == ("developers", "staff")
    assert again.principal(ALICE) == directory.principal(ALICE)
    name = read_blob(key.blob).fingerprint
    assert again.ssh_key(name) == directory.ssh_key(name)
    assert [fingerprint for fingerprint, _ in again.signers()] == [name]


async def test_groups_nest_and_never_in_themselves(storage: Storage, directory: Directory) -> None:
    await enrolled(storage, ALICE)
    await storage.write(lambda tx: roster.put_group(tx, "developers", groups=["staff"]))
    await storage.write(lambda tx: roster.put_group(tx, "staff", groups=["everyone"]))
    principal = directory.principal(ALICE)
    assert principal is not None
    assert [ref.id for ref in principal.parents] == ["developers", "everyone", "staff", "main"]
    with pytest.raises(InputError, match="in itself"):
        await storage.write(lambda tx: roster.put_group(tx, "everyone", groups=["developers"]))


async def test_disabled_is_nobody_and_enabled_again_is_somebody(storage: Storage, directory: Directory) -> None:
    credentials = Credentials(storage, issuer=SERVER)
    await enrolled(storage, ALICE)
    issued = await storage.write(lambda tx: credentials.issue(tx, credential(tx)))
    ended = await storage.write(lambda tx: roster.disable(tx, ALICE, "left"))
    assert ended == (issued.id,)
    assert directory.principal(ALICE) is None
    assert not credentials.is_live(issued.id)
    await storage.write(lambda tx: roster.enable(tx, ALICE))
    assert directory.principal(ALICE) is not None
    assert not credentials.is_live(issued.id)


async def test_one_address_for_two_people_is_refused(storage: Storage, directory: Directory) -> None:
    await enrolled(storage, ALICE)
    with pytest.raises(ConflictError, match="another's address"):
        await storage.write(lambda tx: roster.add_principal(tx, BOB, emails=["ALICE@x.test"]))
    assert directory.principal(BOB) is None


async def test_one_key_for_two_people_is_refused(storage: Storage, directory: Directory, tmp_path: Path) -> None:
    key = Key(tmp_path)
    await enrolled(storage, ALICE, key.line)
    await enrolled(storage, BOB)
    with pytest.raises(ConflictError, match='key of User::"alice"'):
        await storage.write(lambda tx: roster.add_ssh_key(tx, BOB, key.line + " another comment"))


async def test_one_key_as_ssh_key_and_as_clients_key_of_another_is_refused(
    storage: Storage, directory: Directory
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = jwk_of(private)
    service = Ref("Service", "deployer")
    await storage.write(lambda tx: roster.register_client(tx, service, [jwk]))
    await enrolled(storage, ALICE)
    point = private.public_key().public_numbers()
    q = b"\4" + point.x.to_bytes(32) + point.y.to_bytes(32)
    line = read_blob(b"".join(map(string, (b"ecdsa-sha2-nistp256", b"nistp256", q)))).line
    with pytest.raises(ConflictError, match='key of Service::"deployer"'):
        await storage.write(lambda tx: roster.add_ssh_key(tx, ALICE, line))
    key = directory.key(ssh_fingerprint_of_jwk(jwk))
    assert key is not None
    assert key.name == thumbprint(jwk)


@pytest.mark.parametrize("id_", ["Alice", "аlice", "al ice", "alice\n", "", "alice\u202e", "-alice", "a" * 129, "a\0b"])  # noqa: RUF001 - that it looks the same is the attack
async def test_id_that_could_be_mistaken_for_another_is_refused(storage: Storage, id_: str) -> None:
    with pytest.raises(InputError):
        await storage.write(lambda tx: roster.add_principal(tx, Ref("User", id_)))


@pytest.mark.parametrize(
    "name", ["Al\x1b[31mice", "Alice\u202egpj", "Alice\u200b", " Alice", "Ame\u0301lie", "x" * 129]
)
async def test_name_that_moves_the_cursor_or_hides_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(InputError):
        await storage.write(lambda tx: roster.add_principal(tx, ALICE, name=name))


@pytest.mark.parametrize("email", ["alice", "a@b\n", "a b@c.test", "älice@x.test", "<a@b.test>", "@x.test"])
async def test_address_that_is_none_is_refused(storage: Storage, email: str) -> None:
    with pytest.raises(InputError):
        await storage.write(lambda tx: roster.add_principal(tx, ALICE, emails=[email]))


@pytest.mark.parametrize("type_", ["Job", "Group", "user", ""])
async def test_type_that_is_not_kept_is_refused(storage: Storage, type_: str) -> None:
    with pytest.raises(InputError):
        await storage.write(lambda tx: roster.add_principal(tx, Ref(type_, "x")))


async def test_key_of_nobody_on_record_is_refused(storage: Storage, tmp_path: Path) -> None:
    key = Key(tmp_path)
    with pytest.raises(NotFoundError):
        await storage.write(lambda tx: roster.add_ssh_key(tx, ALICE, key.line))


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa QR==", 'command="x" ssh-ed25519 AAAA']
)
async def test_garbage_for_a_key_is_refused(storage: Storage, line: str) -> None:
    await enrolled(storage, ALICE)
    with pytest.raises(SshKeyError):
        await storage.write(lambda tx: roster.add_ssh_key(tx, ALICE, line))


async def test_private_jwk_is_refused(storage: Storage) -> None:
    jwk = {**jwk_of(ec.generate_private_key(ec.SECP256R1())), "d": b64url(bytes(32))}
    with pytest.raises(InputError, match="private half"):
        await storage.write(lambda tx: roster.register_client(tx, Ref("Service", "x"), [jwk]))


async def test_key_is_good_in_its_window_alone(
    storage: Storage, directory: Directory, clock: SettableClock, tmp_path: Path
) -> None:
    proofs = Proofs(directory, Credentials(storage, issuer=SERVER))
    key = Key(tmp_path)
    start = clock.now() + DAY
    await enrolled(storage, ALICE, key.line, valid_from=start, valid_until=start + DAY)
    assert proofs.knows_ssh_key(key.blob)
    with pytest.raises(UnauthenticatedError, match="not valid before"):
        proofs.ssh_key(key.blob, kind="ssh-key", at=clock.now())
    proof = proofs.ssh_key(key.blob, kind="ssh-key", at=start)
    assert (proof.principal.ref, proof.key) == (ALICE, read_blob(key.blob).fingerprint)
    with pytest.raises(UnauthenticatedError, match="expired"):
        proofs.ssh_key(key.blob, kind="ssh-key", at=start + DAY)


@pytest.mark.parametrize("reason", ["compromised", "superseded", "other"])
async def test_revoked_key_proves_nothing_and_a_compromised_one_never_did(
    storage: Storage, directory: Directory, clock: SettableClock, tmp_path: Path, reason: Reason
) -> None:
    proofs = Proofs(directory, Credentials(storage, issuer=SERVER))
    key = Key(tmp_path)
    name = read_blob(key.blob).fingerprint
    await enrolled(storage, ALICE, key.line)
    earlier = clock.now()
    clock.advance(DAY)
    await storage.write(lambda tx: roster.revoke_key(tx, name, reason))
    with pytest.raises(UnauthenticatedError, match=f"revoked as {reason}"):
        proofs.ssh_key(key.blob, kind="ssh-key", at=clock.now())
    record = directory.key(name)
    assert record is not None
    assert record.is_good(earlier) is (reason != "compromised")


async def test_compromised_follows_superseded_and_is_not_taken_back(
    storage: Storage, directory: Directory, tmp_path: Path
) -> None:
    key = Key(tmp_path)
    name = read_blob(key.blob).fingerprint
    await enrolled(storage, ALICE, key.line)
    reasons: list[Reason] = ["superseded", "compromised", "other"]
    for reason in reasons:
        await storage.write(lambda tx, reason=reason: roster.revoke_key(tx, name, reason))
    record = directory.ssh_key(name)
    assert record is not None
    assert record.revoked_reason == "compromised"


async def test_revoked_key_never_comes_back(storage: Storage, tmp_path: Path) -> None:
    key = Key(tmp_path)
    name = read_blob(key.blob).fingerprint
    await enrolled(storage, ALICE)
    await storage.write(lambda tx: roster.revoke_key(tx, name, "compromised"))  # before anyone enrolled it
    with pytest.raises(ConflictError, match="was revoked"):
        await storage.write(lambda tx: roster.add_ssh_key(tx, ALICE, key.line))


@pytest.mark.parametrize("name", ["", "x", "SHA256:", "k" * 44, "SHA256:" + "-" * 43, "k" * 10_000, "\0" * 43])
async def test_revoking_what_is_no_name_of_a_key_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(InputError, match="not the name of a key"):
        await storage.write(lambda tx: roster.revoke_key(tx, name, "other"))


async def test_clients_keys_are_those_that_are_good_now(
    storage: Storage, directory: Directory, clock: SettableClock
) -> None:
    old, new = (jwk_of(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    service = Ref("Service", "deployer")

    def change(tx: Transaction) -> None:
        roster.register_client(tx, service, [old])
        roster.add_client_key(tx, service, new, valid_from=tx.now + DAY)

    await storage.write(change)

    def good() -> list[str]:
        client = directory.client("service:deployer")
        assert client is not None
        return [key.thumbprint for key in client[1]]

    assert good() == [thumbprint(old)]
    clock.advance(DAY)
    assert set(good()) == {thumbprint(old), thumbprint(new)}
    await storage.write(lambda tx: roster.revoke_key(tx, ssh_fingerprint_of_jwk(old), "other"))
    assert good() == [thumbprint(new)]
    assert directory.client("machine:deployer") is None
    assert directory.client("deployer") is None


async def test_jobs_key_for_tokens_is_its_ssh_key(storage: Storage, directory: Directory, clock: SettableClock) -> None:
    credentials = Credentials(storage, issuer=SERVER)
    proofs = Proofs(directory, credentials)
    private = ed25519.Ed25519PrivateKey.generate()
    jwk = jwk_of(private)
    blob = b"".join(map(string, (b"ssh-ed25519", private.public_key().public_bytes_raw())))
    job = Principal(ref=Ref("Job", "github:acme/shop:1"), attributes={"repository": "acme/shop"})
    assert not proofs.knows_ssh_key(blob)

    def issue(tx: Transaction) -> str:
        root = credential(tx, principal=job.ref, key=thumbprint(jwk), proven=job, kind="github")
        return credentials.issue(tx, root).id

    root = await storage.write(issue)
    proof = proofs.ssh_key(blob, kind="ssh-key", at=clock.now())
    assert (proof.principal, proof.credential, proof.key) == (job, root, thumbprint(jwk))
    await storage.write(lambda tx: roster.revoke_key(tx, ssh_fingerprint_of_jwk(jwk), "compromised"))
    assert not proofs.knows_ssh_key(blob)
    with pytest.raises(UnauthenticatedError, match="nobody here"):
        proofs.ssh_key(blob, kind="ssh-key", at=clock.now())


async def test_jobs_ssh_key_ends_with_its_token(storage: Storage, directory: Directory, clock: SettableClock) -> None:
    credentials = Credentials(storage, issuer=SERVER)
    private = ed25519.Ed25519PrivateKey.generate()
    blob = b"".join(map(string, (b"ssh-ed25519", private.public_key().public_bytes_raw())))
    job = Principal(ref=Ref("Job", "1"))
    jkt = thumbprint(jwk_of(private))
    await storage.write(lambda tx: credentials.issue(tx, credential(tx, key=jkt, proven=job)))
    clock.advance(timedelta(minutes=10))
    assert not Proofs(directory, credentials).knows_ssh_key(blob)


def test_a_garbage_ssh_key_is_nobodys() -> None:
    nobody = Proofs(None, None)  # type: ignore[arg-type]
    assert not nobody.knows_ssh_key(b"garbage")


def test_fingerprints_of_security_keys_are_not_those_of_plain_keys() -> None:
    assert read_blob(SecurityKey().blob).jwk is None
    assert read_blob(SecurityKey(curve="ecdsa").blob).thumbprint is None


async def test_ten_thousand_load_quickly(storage: Storage) -> None:
    from sqlalchemy import insert

    from everproof.identity import store
    from everproof.identity.records import PrincipalRecord

    count = 10_000

    def fill(tx: Transaction) -> None:
        rows = []
        for number in range(count):
            ref = Ref("User", f"user{number}")
            record = PrincipalRecord(
                ref=ref, name=f"User {number}", emails=(f"u{number}@x.test",), groups=("a", "b"), enrolled=tx.now
            )
            rows.append({"type": ref.type, "id": ref.id, "body": encode(record)})
        tx.connection.execute(insert(store.principals), rows)

    await storage.write(fill)
    start = time.perf_counter()
    directory = Directory(storage)
    took = time.perf_counter() - start
    assert directory.principal(Ref("User", f"user{count - 1}")) is not None
    assert took < 2, f"{took:.2f} s"
    assert msgspec.json.encode(next(directory.records()))
