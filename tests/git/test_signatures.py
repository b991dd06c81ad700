"""Every way in which a commit's SSH signature misleads, tried with real git against the hook."""

import base64
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from everproof.identity.records import Reason
from everproof.identity.roster import disable
from everproof.kernel.words import Ref
from tests.git.conftest import Running
from tests.git.lab import Clone, Person, call, make_key, public_bytes, public_line

YEAR = timedelta(days=365)


@pytest.fixture
async def alice(lab: Running) -> Clone:
    """A clone of an enrolled person, on top of one good commit."""
    lab.repository()
    clone = await lab.clone(await lab.enrol(lab.person("alice")))
    await clone.commit("first")
    assert (await clone.push()).ok
    return clone


def facts(lab: Running) -> dict[str, object]:
    """The facts of the last push that are not as they should be."""
    action, _, values = lab.authorizer.asked[-1]
    assert action == "git:push"
    return {name: value for name, value in values.items() if name.startswith("commits_") and value}


def signing_with(key: Path) -> dict[str, Any]:
    """Variables that let git sign with ``key``."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.signingkey", "GIT_CONFIG_VALUE_0": f"{key}.pub"}


async def rewritten(clone: Clone, raw: bytes) -> str:
    """Put ``raw`` on the branch in place of its last commit."""
    oid = await clone.write(raw)
    await clone.ok("update-ref", "refs/heads/main", oid)
    return oid


async def resigned(clone: Clone, payload: bytes, armour: bytes, *, header: bytes = b"gpgsig") -> str:
    """Put ``payload`` with ``armour`` as its signature on the branch."""
    lines, _, message = payload.partition(b"\n\n")
    folded = armour.strip().replace(b"\n", b"\n ")
    return await rewritten(clone, lines + b"\n" + header + b" " + folded + b"\n\n" + message)


async def unsigned(clone: Clone) -> bytes:
    """The bytes of a new unsigned commit."""
    await clone.commit("second", sign=False)
    return await clone.raw()


async def test_unknown_key_is_refused_though_git_says_good(lab: Running, alice: Clone) -> None:
    stranger = make_key(lab.folder, "stranger")
    await alice.commit("second", **signing_with(stranger))
    signers = lab.folder / "signers"
    signers.write_text(f"someone@x.test {public_line(alice.person.key)}")
    said = (await alice.git("-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", "--raw", "HEAD")).said
    assert 'Good "git" signature' in said
    ran = await alice.push()
    assert not ran.ok
    assert "a key that nobody here has" in ran.said
    assert facts(lab) == {"commits_unknown_signer": 1}


async def test_author_spoof_is_refused_though_git_accepts_it(lab: Running, alice: Clone) -> None:
    await alice.commit("second", GIT_AUTHOR_NAME="ceo", GIT_AUTHOR_EMAIL="ceo@x.test")
    signers = lab.folder / "signers"
    signers.write_text(f"alice@x.test {public_line(alice.person.key)}")
    assert (await alice.git("-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", "HEAD")).ok
    ran = await alice.push()
    assert not ran.ok
    assert "but its author is ceo@x.test" in ran.said
    assert facts(lab) == {"commits_signer_not_author": 1}


async def test_committer_spoof_is_refused(lab: Running, alice: Clone) -> None:
    await alice.commit("second", GIT_COMMITTER_NAME="ceo", GIT_COMMITTER_EMAIL="ceo@x.test")
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_signer_not_committer": 1}


async def test_signature_of_a_colleague_under_my_name_is_refused(lab: Running, alice: Clone) -> None:
    bob = await lab.enrol(lab.person("bob"))
    await alice.commit("second", **signing_with(bob.key))
    assert not (await alice.push()).ok
    assert set(facts(lab)) == {"commits_signer_not_author", "commits_signer_not_committer", "commits_signer_not_pusher"}


async def test_backdated_committer_date_does_not_revive_an_expired_key(lab: Running, alice: Clone) -> None:
    lapsed = make_key(lab.folder, "lapsed")
    now = datetime.now(UTC)
    await lab.enrol(Person("alice", "alice@x.test", lapsed), valid_until=now + timedelta(hours=1))
    lab.clock.ahead = timedelta(hours=2)
    long_ago = f"{int((now - YEAR).timestamp())} +0000"
    config = signing_with(lapsed)
    await alice.commit("second", GIT_COMMITTER_DATE=long_ago, GIT_AUTHOR_DATE=long_ago, **config)
    signers = lab.folder / "signers"
    before = f"{now - timedelta(days=1):%Y%m%d}"
    signers.write_text(f'alice@x.test valid-before="{before}" {public_line(lapsed)}')
    assert (await alice.git("-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", "HEAD")).ok
    ran = await alice.push()
    assert not ran.ok
    assert "expired at" in ran.said
    assert facts(lab) == {"commits_expired_key": 1}


async def test_postdated_commit_with_a_key_that_is_not_valid_yet_is_refused(lab: Running, alice: Clone) -> None:
    early = make_key(lab.folder, "early")
    await lab.enrol(Person("alice", "alice@x.test", early), valid_from=datetime.now(UTC) + YEAR)
    later = f"{int((datetime.now(UTC) + 2 * YEAR).timestamp())} +0000"
    config = signing_with(early)
    await alice.commit("second", GIT_COMMITTER_DATE=later, **config)
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_not_yet_valid_key": 1}


@pytest.mark.parametrize("reason", ["compromised", "superseded"])
async def test_revoked_key_is_refused_and_called_revoked_where_git_says_bad(
    lab: Running, alice: Clone, reason: Reason
) -> None:
    old = make_key(lab.folder, "old")
    config = signing_with(old)
    await alice.commit("second", **config)
    mine = await lab.enrol(Person("alice", "alice@x.test", old))
    await lab.revoke(mine, reason)
    revoked, signers = lab.folder / "krl", lab.folder / "signers"
    call("ssh-keygen", "-q", "-k", "-f", revoked, f"{old}.pub")
    signers.write_text(f"alice@x.test {public_line(old)}")
    asked = ("-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", f"gpg.ssh.revocationFile={revoked}")
    assert await alice.ok(*asked, "log", "-1", "--format=%G?") == "B"
    ran = await alice.push()
    assert not ran.ok
    assert f"revoked as {reason}" in ran.said
    assert facts(lab) == {"commits_revoked_key": 1}


@pytest.mark.parametrize("reason", ["compromised", "superseded"])
async def test_commit_received_before_its_key_was_replaced_stays_good_but_not_one_of_a_compromised_key(
    lab: Running, alice: Clone, reason: Reason
) -> None:
    oid = await alice.commit("second")
    assert (await alice.push("topic")).ok
    renewed = await lab.enrol(Person("alice", "alice@x.test", make_key(lab.folder, "renewed")))
    alice.env["GIT_SSH_COMMAND"] = lab.ssh(renewed.key)
    await lab.revoke(alice.person, reason)
    ran = await alice.push()
    if reason == "compromised":
        assert not ran.ok
        assert facts(lab) == {"commits_revoked_key": 1}
    else:
        assert ran.ok, ran.said
        assert (lab.bare("app") / "refs/heads/main").read_text().strip() == oid


async def test_commit_received_before_its_key_expired_stays_good(lab: Running, alice: Clone) -> None:
    passing = await lab.enrol(
        Person("alice", "alice@x.test", make_key(lab.folder, "passing")),
        valid_until=datetime.now(UTC) + timedelta(hours=1),
    )
    await alice.commit("second", **signing_with(passing.key))
    assert (await alice.push("topic")).ok
    lab.clock.ahead = timedelta(hours=2)
    ran = await alice.push()
    assert ran.ok, ran.said


async def test_key_of_someone_who_left_is_refused(lab: Running, alice: Clone) -> None:
    bob = await lab.enrol(lab.person("bob"))
    await alice.commit("second", **signing_with(bob.key))
    await lab.storage.write(lambda tx: disable(tx, Ref("User", "bob"), "left"))
    ran = await alice.push()
    assert not ran.ok
    assert "bob, who is disabled" in ran.said
    assert facts(lab) == {"commits_unknown_signer": 1}


async def test_changed_author_under_the_old_signature_is_refused(lab: Running, alice: Clone) -> None:
    await alice.commit("second")
    await rewritten(alice, (await alice.raw()).replace(b"author alice <alice@x.test>", b"author ceo <ceo@x.test>"))
    assert not (await alice.push()).ok
    assert "commits_bad_signature" in facts(lab)


async def test_amended_commit_has_silently_lost_its_signature(lab: Running, alice: Clone) -> None:
    await alice.commit("second")
    await alice.ok("commit", "--amend", "--no-gpg-sign", "--allow-empty", "-m", "amended")
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_unsigned": 1}


async def test_signature_made_for_another_namespace_is_refused(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    await resigned(alice, payload, await alice.sign(payload, namespace="file"))
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_bad_signature": 1}


async def test_signature_by_hand_in_the_right_namespace_is_accepted(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    await resigned(alice, payload, await alice.sign(payload))
    ran = await alice.push()
    assert ran.ok, ran.said


async def test_two_signature_headers_are_refused(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    armour = await alice.sign(payload)
    await resigned(alice, payload, armour)
    lines, _, message = (await alice.raw()).partition(b"\n\n")
    await rewritten(alice, lines + b"\ngpgsig " + armour.strip().replace(b"\n", b"\n ") + b"\n\n" + message)
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_malformed": 1}


async def test_two_signatures_in_one_header_are_refused(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    armour = await alice.sign(payload)
    await resigned(alice, payload, armour + armour)
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_malformed": 1}


async def test_signature_of_the_other_object_format_beside_is_refused(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    armour = await alice.sign(payload)
    await resigned(alice, payload, armour)
    lines, _, message = (await alice.raw()).partition(b"\n\n")
    await rewritten(alice, lines + b"\ngpgsig-sha256 " + armour.strip().replace(b"\n", b"\n ") + b"\n\n" + message)
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_malformed": 1}


async def test_nul_in_a_signed_message_is_refused(lab: Running, alice: Clone) -> None:
    payload = (await unsigned(alice)) + b"\0hidden from git log\n"
    await resigned(alice, payload, await alice.sign(payload))
    ran = await alice.push()
    assert not ran.ok
    assert "NUL" in ran.said


async def test_second_author_header_is_refused(lab: Running, alice: Clone) -> None:
    payload = (await unsigned(alice)).replace(b"\ncommitter ", b"\nauthor ceo <ceo@x.test> 1 +0000\ncommitter ")
    await resigned(alice, payload, await alice.sign(payload))
    assert not (await alice.push()).ok


async def test_signature_inside_a_merged_tag_does_not_sign_the_merge(lab: Running, alice: Clone) -> None:
    await alice.ok("checkout", "-q", "-b", "side")
    await alice.commit("aside")
    await alice.ok("tag", "-s", "-m", "signed tag", "v1")
    await alice.ok("checkout", "-q", "main")
    await alice.commit("ahead")
    await alice.ok("merge", "-q", "--no-ff", "--no-gpg-sign", "-m", "merge", "v1")
    assert b"mergetag object" in await alice.raw()
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_unsigned": 1}
    await alice.ok("commit", "--amend", "--no-edit", "-S", "-q")
    ran = await alice.push()
    assert ran.ok, ran.said


async def test_pgp_signature_is_called_unsupported_and_not_good(lab: Running, alice: Clone) -> None:
    payload = await unsigned(alice)
    await resigned(
        alice, payload, b"-----BEGIN PGP SIGNATURE-----\n\niQEzBAABCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----"
    )
    ran = await alice.push()
    assert not ran.ok
    assert "OpenPGP" in ran.said
    assert facts(lab) == {"commits_unsupported_signature": 1}


async def test_signer_list_inside_the_pushed_repository_is_not_read(lab: Running, alice: Clone) -> None:
    stranger = make_key(lab.folder, "stranger")
    (alice.path / "allowed_signers").write_text(f"alice@x.test {public_line(stranger)}")
    await alice.ok("add", "allowed_signers")
    await alice.ok("config", "gpg.ssh.allowedSignersFile", "allowed_signers")
    await alice.commit("second", **signing_with(stranger))
    assert (await alice.git("verify-commit", "HEAD")).ok
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_unknown_signer": 1}


async def test_hardware_key_signature_is_verified(lab: Running, alice: Clone) -> None:
    """An sk-ssh-ed25519 signature as a security key makes it (PROTOCOL.u2f), without the security key."""

    def text(*values: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(value)) + value for value in values)

    kind, application = b"sk-ssh-ed25519@openssh.com", b"ssh:"
    private = ed25519.Ed25519PrivateKey.generate()
    public = text(kind, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), application)
    payload = await unsigned(alice)
    signed = b"SSHSIG" + text(b"git", b"", b"sha512", hashlib.sha512(payload).digest())
    flags_and_counter = struct.pack(">BI", 1, 7)  # the user was present
    asserted = hashlib.sha256(application).digest() + flags_and_counter + hashlib.sha256(signed).digest()
    signature = text(kind, private.sign(asserted)) + flags_and_counter
    blob = b"SSHSIG" + struct.pack(">I", 1) + text(public, b"git", b"", b"sha512", signature)
    encoded = base64.b64encode(blob)
    lines = b"\n".join(encoded[start : start + 70] for start in range(0, len(encoded), 70))
    await resigned(alice, payload, b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"\n-----END SSH SIGNATURE-----\n")
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_unknown_signer": 1}
    line = f"{kind.decode()} {base64.b64encode(public).decode()}"
    await lab.enrol_key(alice.person, line)
    ran = await alice.push()
    assert ran.ok, ran.said


async def test_repository_of_sha256_objects_is_guarded_too(lab: Running) -> None:
    lab.repository(objects="sha256")
    alice = await lab.clone(await lab.enrol(lab.person("alice")), objects="sha256")
    await alice.commit("first")
    assert b"\ngpgsig-sha256 " in await alice.raw()
    ran = await alice.push("main", "--signed")
    assert ran.ok, ran.said
    assert lab.authorizer.asked[-1][2]["push_certificate"] is True
    await alice.commit("second", sign=False)
    assert not (await alice.push()).ok
    assert facts(lab) == {"commits_unsigned": 1}


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
async def test_other_key_types_are_verified(lab: Running, kind: str) -> None:
    lab.repository()
    carol = await lab.clone(await lab.enrol(lab.person("carol", kind=kind)))
    await carol.commit()
    ran = await carol.push("main", "--signed")
    assert ran.ok, ran.said
    assert public_bytes(carol.person.key)
