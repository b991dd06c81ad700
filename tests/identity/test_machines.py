import asyncio
from typing import Any

import pytest

from everproof.identity import Directory, JoinRequest, join_token
from everproof.identity.client_assertion import ClientAssertions
from everproof.identity.machines import JOIN_LIFETIME, Machines
from everproof.identity.tickets import Issued
from everproof.kernel.errors import ConflictError, InputError, RefusedError, UnauthenticatedError
from everproof.kernel.words import Ref
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.caller import TOKEN_ENDPOINT, Caller
from tests.identity.people import ALICE, SERVER

RUNNER = Ref("Machine", "runner-1")


@pytest.fixture
def directory(storage: Storage) -> Directory:
    return Directory(storage)


@pytest.fixture
def machines(storage: Storage) -> Machines:
    return Machines(storage)


@pytest.fixture
async def token(storage: Storage) -> Issued:
    return await storage.write(lambda tx: join_token(tx, groups=("runners",), by=ALICE))


def request(token: str, caller: Caller, **changes: Any) -> JoinRequest:
    return JoinRequest(**{"token": token, "machine": "runner-1", "jwk": caller.jwk} | changes)


async def test_machine_joins_and_its_key_proves_it_from_then_on(
    storage: Storage, directory: Directory, machines: Machines, token: Issued, clock: SettableClock
) -> None:
    caller = Caller(clock)
    joining = machines.verify(request(token.secret, caller), shown=caller.thumbprint)
    assert (joining.proof.kind, joining.proof.principal.ref) == ("join-token", RUNNER)
    await storage.write(joining.settle)
    principal = directory.principal(RUNNER)
    assert principal is not None
    assert Ref("Group", "runners") in principal.parents

    now = int(clock.now().timestamp())
    name = "machine:runner-1"
    claims = {"iss": name, "sub": name, "aud": SERVER, "jti": "1", "iat": now, "exp": now + 60}
    assertions = ClientAssertions(directory, storage.clock, issuer=SERVER, token_endpoint=TOKEN_ENDPOINT)
    proven = assertions.verify(caller.sign({"typ": "JWT"}, claims)).proof
    assert (proven.principal, proven.key) == (principal, caller.thumbprint)
    key = directory.key(caller.thumbprint)
    assert key is not None
    assert proven.credential == key.credential


async def test_second_machine_with_the_same_join_token_is_refused(
    storage: Storage, machines: Machines, token: Issued, clock: SettableClock
) -> None:
    one, two = Caller(clock), Caller(clock)
    await storage.write(machines.verify(request(token.secret, one), shown=one.thumbprint).settle)
    with pytest.raises(UnauthenticatedError, match="was used"):
        machines.verify(request(token.secret, two, machine="runner-2"), shown=two.thumbprint)


async def test_of_many_machines_with_one_join_token_at_once_one_joins(
    storage: Storage, directory: Directory, machines: Machines, token: Issued, clock: SettableClock
) -> None:
    callers = [Caller(clock) for _ in range(8)]
    joining = [
        machines.verify(request(token.secret, caller, machine=f"runner-{number}"), shown=caller.thumbprint)
        for number, caller in enumerate(callers)
    ]
    done = await asyncio.gather(*(storage.write(one.settle) for one in joining), return_exceptions=True)
    assert sum(isinstance(one, RefusedError) for one in done) == 7
    assert len(list(directory.records())) == 1


async def test_key_that_was_not_shown_cannot_join(machines: Machines, token: Issued, clock: SettableClock) -> None:
    victim, attacker = Caller(clock), Caller(clock)
    with pytest.raises(UnauthenticatedError, match="has not shown"):
        machines.verify(request(token.secret, victim), shown=attacker.thumbprint)


async def test_join_token_ends(storage: Storage, machines: Machines, token: Issued, clock: SettableClock) -> None:
    caller = Caller(clock)
    joining = machines.verify(request(token.secret, caller), shown=caller.thumbprint)
    clock.advance(JOIN_LIFETIME)
    with pytest.raises(RefusedError):
        await storage.write(joining.settle)
    with pytest.raises(UnauthenticatedError):
        machines.verify(request(token.secret, caller), shown=caller.thumbprint)


async def test_join_token_for_another_machine_is_refused(
    storage: Storage, machines: Machines, clock: SettableClock
) -> None:
    caller = Caller(clock)
    issued = await storage.write(lambda tx: join_token(tx, machine="runner-2"))
    with pytest.raises(UnauthenticatedError, match="another machine"):
        machines.verify(request(issued.secret, caller), shown=caller.thumbprint)


async def test_enrolment_link_is_no_join_token(storage: Storage, machines: Machines, clock: SettableClock) -> None:
    from everproof.identity import invite

    caller = Caller(clock)
    issued = await storage.write(invite)
    with pytest.raises(UnauthenticatedError):
        machines.verify(request(issued.secret, caller), shown=caller.thumbprint)


async def test_name_or_key_of_another_machine_leaves_the_token_good(
    storage: Storage, machines: Machines, token: Issued, clock: SettableClock
) -> None:
    one, two = Caller(clock), Caller(clock)
    await storage.write(machines.verify(request(token.secret, one), shown=one.thumbprint).settle)
    second = await storage.write(join_token)
    for caller, name in ((two, "runner-1"), (one, "runner-2")):
        with pytest.raises(ConflictError):
            await storage.write(
                machines.verify(request(second.secret, caller, machine=name), shown=caller.thumbprint).settle
            )
    await storage.write(machines.verify(request(second.secret, two, machine="runner-2"), shown=two.thumbprint).settle)


@pytest.mark.parametrize("jwk", [{}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}])
async def test_key_that_is_not_accepted_is_refused(machines: Machines, token: Issued, jwk: dict[str, str]) -> None:
    with pytest.raises(InputError):
        machines.verify(JoinRequest(token=token.secret, machine="runner-1", jwk=jwk), shown="x")
