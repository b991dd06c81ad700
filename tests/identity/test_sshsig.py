import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everproof.identity import sshsig
from everproof.identity.sshsig import SshSignatureError
from tests.identity.ssh import Key, SecurityKey, armour, dearmour, string

KINDS = [("ed25519", None), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048), ("rsa", 3072)]
MESSAGE = b"tree 1234\nauthor somebody\n\nmessage\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int | None], Key]:
    folder = tmp_path_factory.mktemp("keys")
    return {kind: Key(folder, f"{kind[0]}{kind[1] or ''}", *kind) for kind in KINDS}


@pytest.fixture(scope="module")
def key(keys: dict[tuple[str, int | None], Key]) -> Key:
    return keys["ed25519", None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_signature_of_ssh_keygen_holds(
    keys: dict[tuple[str, int | None], Key], kind: tuple[str, int | None], hash_name: str
) -> None:
    key = keys[kind]
    info = sshsig.verify(key.sign(MESSAGE, "git", "-O", f"hashalg={hash_name}"), MESSAGE, "git")
    printed = subprocess.run(["ssh-keygen", "-l", "-f", key.file], capture_output=True, text=True, check=True).stdout
    assert info.fingerprint == printed.split()[1]
    assert info.public_key == key.blob
    assert info.user_present is None


@pytest.mark.parametrize("curve", ["ed25519", "ecdsa"])
def test_signature_of_a_security_key_holds_and_its_counter_is_told(curve: str) -> None:
    key = SecurityKey(curve=curve)
    info = sshsig.verify(key.sign(MESSAGE, "git"), MESSAGE, "git")
    assert (info.user_present, info.user_verified, info.counter) == (True, False, 42)


@pytest.mark.parametrize("curve", ["ed25519", "ecdsa"])
def test_security_key_in_software_agrees_with_ssh_keygen(curve: str, tmp_path: Path) -> None:
    key = SecurityKey(curve=curve)
    (tmp_path / "signers").write_text(f"me {key.line}\n")
    (tmp_path / "signature").write_bytes(key.sign(MESSAGE, "git"))
    command = ["ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "me", "-n", "git", "-s", "signature"]
    subprocess.run(command, cwd=tmp_path, input=MESSAGE, check=True, capture_output=True)


@pytest.mark.parametrize("curve", ["ed25519", "ecdsa"])
def test_signature_without_touch_is_refused(curve: str) -> None:
    with pytest.raises(SshSignatureError, match="touched"):
        sshsig.verify(SecurityKey(curve=curve, touched=False).sign(MESSAGE, "git"), MESSAGE, "git")


def test_security_key_of_a_web_site_is_refused() -> None:
    with pytest.raises(SshSignatureError, match="something else than SSH"):
        sshsig.verify(SecurityKey(application="webauthn.example").sign(MESSAGE, "git"), MESSAGE, "git")


def test_raised_counter_is_refused() -> None:
    key = SecurityKey()
    blob = dearmour(key.sign(MESSAGE, "git"))
    with pytest.raises(SshSignatureError, match="does not hold"):
        sshsig.verify(armour(blob[:-1] + b"\xff"), MESSAGE, "git")


def test_signature_of_another_message_is_refused(key: Key) -> None:
    with pytest.raises(SshSignatureError, match="does not hold"):
        sshsig.verify(key.sign(MESSAGE, "git"), MESSAGE + b" ", "git")


@pytest.mark.parametrize("namespace", ["file", "gi", "git ", "GIT", "git\0", ""])
def test_signature_in_another_namespace_is_refused(key: Key, namespace: str) -> None:
    with pytest.raises(SshSignatureError, match="made for 'git'"):
        sshsig.verify(key.sign(MESSAGE, "git"), MESSAGE, namespace)


def test_empty_namespace_is_refused_even_where_both_are_empty(key: Key) -> None:
    blob = dearmour(key.sign(MESSAGE, "git")).replace(string(b"git"), string(b""))
    with pytest.raises(SshSignatureError, match="made for"):
        sshsig.verify(armour(blob), MESSAGE, "")


def test_garbage_around_the_armour_is_refused(key: Key) -> None:
    good = key.sign(MESSAGE, "git")
    for bad in (good + b"x", good + b"\n", b"\n" + good, good + good, good.replace(b"\n", b"\r\n"), good[:-3], b""):
        with pytest.raises(SshSignatureError):
            sshsig.verify(bad, MESSAGE, "git")


def test_garbage_inside_the_armour_is_refused(key: Key) -> None:
    blob = dearmour(key.sign(MESSAGE, "git"))
    for bad in (
        blob + b"\0",
        blob[:-1],
        b"SSHSIG",
        b"",
        blob.replace(b"SSHSIG", b"SSHSIH"),
        blob[:9] + b"\2" + blob[10:],
    ):
        with pytest.raises(SshSignatureError):
            sshsig.verify(armour(bad), MESSAGE, "git")


def test_noncanonical_base64_is_refused() -> None:
    with pytest.raises(SshSignatureError, match="canonical"):
        sshsig.verify(b"-----BEGIN SSH SIGNATURE-----\nQR==\n-----END SSH SIGNATURE-----", MESSAGE, "git")


def test_sha1_signature_is_refused(keys: dict[tuple[str, int | None], Key]) -> None:
    blob = dearmour(keys["rsa", 2048].sign(MESSAGE, "git"))
    forged = blob.replace(string(b"rsa-sha2-512"), string(b"ssh-rsa"))
    length = len(string(b"rsa-sha2-512")) - len(string(b"ssh-rsa"))
    at = forged.rindex(string(b"ssh-rsa")) - 4
    forged = forged[:at] + (int.from_bytes(forged[at : at + 4]) - length).to_bytes(4) + forged[at + 4 :]
    with pytest.raises(SshSignatureError, match="not its key's"):
        sshsig.verify(armour(forged), MESSAGE, "git")


def test_short_rsa_key_is_refused(tmp_path: Path) -> None:
    key = Key(tmp_path, kind="rsa", bits=1024)
    with pytest.raises(SshSignatureError, match="1024 bits"):
        sshsig.verify(key.sign(MESSAGE, "git"), MESSAGE, "git")


def test_certificate_is_refused_with_what_to_do(tmp_path: Path) -> None:
    authority, key = Key(tmp_path, "ca"), Key(tmp_path, "user")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority.file, "-I", "me", "-n", "me", key.file.with_suffix(".pub")], check=True
    )
    certificate = base64.b64decode((tmp_path / "user-cert.pub").read_text().split()[1])
    blob = dearmour(key.sign(MESSAGE, "git")).replace(string(key.blob), string(certificate))
    with pytest.raises(SshSignatureError, match="certificate") as caught:
        sshsig.verify(armour(blob), MESSAGE, "git")
    assert "key itself" in (caught.value.todo or "")


def test_signature_with_another_key_inside_is_refused(key: Key, tmp_path: Path) -> None:
    blob = dearmour(key.sign(MESSAGE, "git")).replace(key.blob, Key(tmp_path).blob)
    with pytest.raises(SshSignatureError, match="does not hold"):
        sshsig.verify(armour(blob), MESSAGE, "git")


def test_huge_input_is_refused_at_once() -> None:
    with pytest.raises(SshSignatureError, match="at most"):
        sshsig.verify(b"-----BEGIN SSH SIGNATURE-----\n" + b"A" * 10_000_000, MESSAGE, "git")


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_refused(key: Key, position: int, flip: int) -> None:
    blob = bytearray(dearmour(_signed(key)))
    blob[position % len(blob)] ^= flip
    with pytest.raises(SshSignatureError):
        sshsig.verify(armour(bytes(blob)), MESSAGE, "git")


@given(st.binary(max_size=300))
def test_garbage_is_an_error_and_nothing_else(garbage: bytes) -> None:
    for data in (garbage, armour(garbage), armour(b"SSHSIG\0\0\0\1" + garbage)):
        with pytest.raises(SshSignatureError):
            sshsig.verify(data, MESSAGE, "git")


_CACHE: dict[str, bytes] = {}


def _signed(key: Key) -> bytes:
    if key.line not in _CACHE:
        _CACHE[key.line] = key.sign(MESSAGE, "git")
    return _CACHE[key.line]
