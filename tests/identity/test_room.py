"""The room as the doors use it: someone logs in, gets a token for a fresh key, and loses it with the SSH key."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from everproof.identity import Identity, lineage, roster
from everproof.identity.access_tokens import subject
from everproof.identity.challenges import LOGIN_NAMESPACE, login_message
from everproof.identity.exchange import TokenReply
from everproof.identity.jose import JoseError
from everproof.identity.oauth import ReplayedError
from everproof.identity.outbound import Outbound
from everproof.identity.ssh_keys import read_blob
from everproof.identity.ssh_login import Login
from everproof.identity.token_request import TokenRequest
from everproof.kernel.errors import RefusedError
from everproof.keys import Keyring, SigningKeys, open_root_key
from everproof.storage import Storage, Transaction
from tests.conftest import SettableClock
from tests.identity.caller import TOKEN_ENDPOINT, Caller
from tests.identity.people import ALICE, SERVER, enrolled
from tests.identity.ssh import Key


class Room:
    """The room over a storage, and what the login door does with it."""

    def __init__(self, storage: Storage, identity: Identity, clock: SettableClock) -> None:
        self.storage = storage
        self.identity = identity
        self.caller = Caller(clock)

    def signed(self, key: Key) -> Login:
        challenge = self.identity.login.challenge()
        message = login_message(server=SERVER, challenge=challenge.text, at=challenge.at, key=self.caller.thumbprint)
        signature = key.sign(message, LOGIN_NAMESPACE)
        return self.identity.login.verify(challenge.text, signature, key=self.caller.thumbprint)

    async def token(self, login: Login) -> TokenReply:
        exchange, proof = self.identity.exchange, login.proof
        request = TokenRequest(grant_type="login", lifetime=timedelta(hours=1))
        client = subject(proof.principal.ref)
        plan = exchange.plan(request, proof, source=None, client=client, latest=proof.expires, recorded=True)

        def issue(tx: Transaction) -> TokenReply:
            login.settle(tx)
            return exchange.issue(tx, plan)

        return await self.storage.write(issue)


@pytest.fixture
async def room(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Room]:
    storage = Storage.open(database_url, clock=clock)
    signing = SigningKeys(storage, Keyring(storage, open_root_key("", tmp_path / "root")))
    await storage.start()
    yield Room(storage, Identity(storage, signing, Outbound(), issuer=SERVER, token_endpoint=TOKEN_ENDPOINT), clock)
    await storage.stop()


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


async def test_token_of_a_login_is_bound_to_the_fresh_key_and_descends_from_the_ssh_key(room: Room, key: Key) -> None:
    await enrolled(room.storage, ALICE, key.line)
    reply = await room.token(room.signed(key))
    token = room.identity.tokens.verify(reply.access_token)
    assert (token.key, token.proof.principal.ref) == (room.caller.thumbprint, ALICE)
    assert token.proof.principal is room.identity.directory.principal(ALICE)
    name = read_blob(key.blob).fingerprint
    assert [(one.kind, one.key) for one in lineage(room.storage, reply.credential).ancestors] == [
        ("ssh-key", name),
        ("access-token", room.caller.thumbprint),
    ]
    await room.storage.write(lambda tx: roster.revoke_key(tx, name, "compromised"))
    with pytest.raises(JoseError, match="revoked"):
        room.identity.tokens.verify(reply.access_token)


async def test_token_ends_with_the_window_of_the_ssh_key(room: Room, key: Key, clock: SettableClock) -> None:
    await enrolled(room.storage, ALICE, key.line, valid_until=clock.now() + timedelta(minutes=5))
    assert (await room.token(room.signed(key))).expires_in == 300


async def test_key_revoked_between_signature_and_commit_gives_no_token(room: Room, key: Key) -> None:
    await enrolled(room.storage, ALICE, key.line)
    login = room.signed(key)
    await room.storage.write(lambda tx: roster.revoke_key(tx, read_blob(key.blob).fingerprint, "compromised"))
    with pytest.raises(RefusedError):
        await room.token(login)


async def test_one_login_gives_one_token(room: Room, key: Key) -> None:
    await enrolled(room.storage, ALICE, key.line)
    login = room.signed(key)
    await room.token(login)
    with pytest.raises(ReplayedError):
        await room.token(login)


async def test_disabled_person_has_no_token_any_more(room: Room, key: Key) -> None:
    await enrolled(room.storage, ALICE, key.line)
    reply = await room.token(room.signed(key))
    await room.storage.write(lambda tx: roster.disable(tx, ALICE, "left"))
    with pytest.raises(JoseError):
        room.identity.tokens.verify(reply.access_token)
    await room.storage.write(lambda tx: roster.enable(tx, ALICE))
    with pytest.raises(JoseError, match="revoked"):
        room.identity.tokens.verify(reply.access_token)
    await room.token(room.signed(key))
