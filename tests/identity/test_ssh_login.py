import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everproof.identity import Credentials, Directory, roster
from everproof.identity.challenges import LIFETIME, LOGIN_NAMESPACE, Challenge, Challenges, login_message
from everproof.identity.oauth import ReplayedError
from everproof.identity.ssh_keys import read_blob
from everproof.identity.ssh_login import SshLogin
from everproof.kernel.canonical import b64url, from_b64url
from everproof.kernel.errors import RefusedError, UnauthenticatedError
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.people import ALICE, DAY, SERVER, credential, enrolled
from tests.identity.ssh import Key, SecurityKey

FRESH = "f" * 43
"""The thumbprint of the fresh key."""


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return Directory(storage)


@pytest.fixture
def login(storage: Storage, directory: Directory) -> SshLogin:
    return SshLogin(directory, Challenges(storage.clock, server=SERVER), storage.clock)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


def message(challenge: Challenge, *, server: str = SERVER, key: str = FRESH) -> bytes:
    return login_message(server=server, challenge=challenge.text, at=challenge.at, key=key)


async def test_person_logs_in_with_the_key_on_record(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    found = login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
    assert (found.proof.kind, found.proof.principal.ref, found.proof.key) == ("ssh-signature", ALICE, FRESH)
    assert found.proof.claims == {"ssh_key": read_blob(key.blob).fingerprint, "algorithm": "ssh-ed25519"}
    await storage.write(found.settle)


async def test_what_is_issued_for_a_login_descends_from_the_key(
    storage: Storage, login: SshLogin, directory: Directory, key: Key
) -> None:
    credentials = Credentials(storage, issuer=SERVER)
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    found = login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
    token = await storage.write(lambda tx: credentials.issue(tx, credential(tx, found.proof.credential, key=FRESH)))
    await storage.write(lambda tx: roster.revoke_key(tx, read_blob(key.blob).fingerprint, "compromised"))
    assert not credentials.is_live(token.id)
    with pytest.raises(RefusedError):
        await storage.write(lambda tx: credentials.issue(tx, credential(tx, found.proof.credential, key="another")))


@pytest.mark.parametrize("curve", ["ed25519", "ecdsa"])
async def test_person_logs_in_with_a_security_key_and_its_touch_is_told(
    storage: Storage, login: SshLogin, curve: str
) -> None:
    key = SecurityKey(curve=curve)
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    found = login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
    assert found.proof.claims["user_present"] is True
    assert found.proof.claims["counter"] == 42


async def test_person_logs_in_through_ssh_agent(storage: Storage, login: SshLogin, tmp_path: Path) -> None:
    key = Key(tmp_path)
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    signature = await asyncio.to_thread(signed_by_agent, tmp_path, key, message(challenge))
    assert login.verify(challenge.text, signature, key=FRESH).proof.principal.ref == ALICE


def signed_by_agent(folder: Path, key: Key, signed: bytes) -> bytes:
    with agent(folder) as environment:
        subprocess.run(["ssh-add", "-q", key.file], env=environment, check=True)
        key.file.unlink()  # the agent alone has it now
        public = str(key.file.with_suffix(".pub"))
        command = ["ssh-keygen", "-Y", "sign", "-q", "-f", public, "-n", LOGIN_NAMESPACE]
        return subprocess.run(command, input=signed, env=environment, capture_output=True, check=True).stdout


@contextmanager
def agent(folder: Path) -> Iterator[dict[str, str]]:
    socket = folder / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it tells its socket once it listens
        yield {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    finally:
        process.terminate()
        process.communicate()


async def test_challenge_that_was_used_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    found = login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
    await storage.write(found.settle)
    with pytest.raises(ReplayedError):
        await storage.write(found.settle)


async def test_of_many_uses_of_one_challenge_at_once_one_counts(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    found = login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
    done = await asyncio.gather(*(storage.write(found.settle) for _ in range(20)), return_exceptions=True)
    assert [one for one in done if not isinstance(one, ReplayedError)] == [None]


async def test_challenge_of_another_server_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    other = Challenges(storage.clock, server="https://evil.example").new()
    with pytest.raises(UnauthenticatedError, match="not one of this server"):
        login.verify(other.text, key.sign(message(other), LOGIN_NAMESPACE), key=FRESH)


async def test_signature_that_another_server_asked_for_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    """An evil server passes our challenge on to its own visitor, whose client names the server it speaks to."""
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    lured = key.sign(message(challenge, server="https://evil.example"), LOGIN_NAMESPACE)
    with pytest.raises(UnauthenticatedError, match="does not hold"):
        login.verify(challenge.text, lured, key=FRESH)


async def test_signature_taken_away_for_another_key_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    with pytest.raises(UnauthenticatedError, match="does not hold"):
        login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key="e" * 43)


async def test_challenge_that_is_too_old_is_refused(
    storage: Storage, login: SshLogin, clock: SettableClock, key: Key
) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    clock.advance(LIFETIME)
    with pytest.raises(UnauthenticatedError, match="too old"):
        login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)


@pytest.mark.parametrize("position", [0, 7, 8, 23, 24, 55])
def test_challenge_with_a_changed_byte_is_refused(storage: Storage, login: SshLogin, position: int) -> None:
    data = bytearray(from_b64url(login.challenge().text))
    data[position] ^= 1
    with pytest.raises(UnauthenticatedError, match="not one of this server"):
        login.verify(b64url(bytes(data)), b"", key=FRESH)


@pytest.mark.parametrize("text", ["", "A", "=", "é" * 10, "A" * 10_000_000, "\0"])
def test_garbage_for_a_challenge_is_refused(storage: Storage, login: SshLogin, text: str) -> None:
    with pytest.raises(UnauthenticatedError, match="not one of this server"):
        login.verify(text, b"", key=FRESH)


@pytest.mark.parametrize("namespace", ["git", "enrol@everproof", "file", "login@everproof "])
async def test_signature_in_the_namespace_of_git_or_another_is_refused(
    storage: Storage, login: SshLogin, key: Key, namespace: str
) -> None:
    await enrolled(storage, ALICE, key.line)
    challenge = login.challenge()
    with pytest.raises(UnauthenticatedError, match="made for"):
        login.verify(challenge.text, key.sign(message(challenge), namespace), key=FRESH)


async def test_key_that_nobody_has_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    challenge = login.challenge()
    with pytest.raises(UnauthenticatedError, match="nobody here has the key"):
        login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)


async def test_revoked_key_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    await storage.write(lambda tx: roster.revoke_key(tx, read_blob(key.blob).fingerprint, "superseded"))
    challenge = login.challenge()
    with pytest.raises(UnauthenticatedError, match="revoked as superseded"):
        login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)


async def test_key_that_is_not_valid_yet_or_no_more_is_refused(
    storage: Storage, login: SshLogin, clock: SettableClock, key: Key
) -> None:
    start = clock.now() + DAY
    await enrolled(storage, ALICE, key.line, valid_from=start, valid_until=start + DAY)
    for advance, match in ((0, "not valid before"), (1, ""), (1, "expired")):
        clock.advance(advance * DAY)
        challenge = login.challenge()
        signature = key.sign(message(challenge), LOGIN_NAMESPACE)
        if match:
            with pytest.raises(UnauthenticatedError, match=match):
                login.verify(challenge.text, signature, key=FRESH)
        else:
            assert login.verify(challenge.text, signature, key=FRESH).proof.expires == start + DAY


async def test_disabled_person_is_refused(storage: Storage, login: SshLogin, key: Key) -> None:
    await enrolled(storage, ALICE, key.line)
    await storage.write(lambda tx: roster.disable(tx, ALICE, "left"))
    challenge = login.challenge()
    with pytest.raises(UnauthenticatedError, match="disabled"):
        login.verify(challenge.text, key.sign(message(challenge), LOGIN_NAMESPACE), key=FRESH)
