"""Who a request is taken to be from, and what a connection of one's own changes about it."""

from typing import Any

import pytest

from everproof.kernel.errors import InputError, UnauthenticatedError
from everproof.server.caller import Callers
from tests.server.client import Client
from tests.server.conftest import URL, Site

PATH = "/v1/identity/me"


class Connection:
    """One connection, as the listener hands its requests to the application."""

    def __init__(self, *, scheme: str = "https", unix: bool = False) -> None:
        self.scheme = scheme
        self.state: dict[str, Any] = {"owned": set()}
        self.extensions = {"peer": {"pid": 1, "uid": 0, "gid": 0}} if unix else {}

    def scope(self, token: str, proof: str = "", *more: tuple[bytes, bytes]) -> dict[str, Any]:
        headers = [(b"authorization", f"DPoP {token}".encode()), *more]
        if proof:
            headers.append((b"dpop", proof.encode()))
        return {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "scheme": self.scheme,
            "headers": headers,
            "state": self.state,
            "extensions": self.extensions,
        }


@pytest.fixture
async def holder(site: Site) -> Client:
    return await site.enrolled("Service", "gateway")


@pytest.fixture
def callers(site: Site) -> Callers:
    return Callers(site.app.identity.tokens, site.app.identity.dpop, issuer=URL)


def shown(client: Client, **claims: str) -> str:
    return client.proof("GET", PATH, client.token, **claims)


def test_each_request_needs_a_proof(callers: Callers, holder: Client) -> None:
    connection = Connection()
    assert callers.prove(connection.scope(holder.token, shown(holder))).principal.ref.id == "gateway"
    with pytest.raises(UnauthenticatedError, match="was not shown"):
        callers.prove(connection.scope(holder.token))


@pytest.mark.parametrize("connection", [Connection(), Connection(scheme="http", unix=True)])
def test_on_a_connection_of_its_own_a_caller_shows_its_key_once(
    callers: Callers, holder: Client, connection: Connection
) -> None:
    callers.prove(connection.scope(holder.token, shown(holder, connection="own")))
    assert callers.prove(connection.scope(holder.token)).principal.ref.id == "gateway"


def test_a_stolen_token_is_not_taken_on_another_connection(callers: Callers, holder: Client) -> None:
    callers.prove(Connection().scope(holder.token, shown(holder, connection="own")))
    with pytest.raises(UnauthenticatedError):
        callers.prove(Connection().scope(holder.token))


async def test_another_token_on_an_owned_connection_needs_its_own_proof(
    site: Site, callers: Callers, holder: Client
) -> None:
    other = await site.enrolled("Service", "other")
    connection = Connection()
    callers.prove(connection.scope(holder.token, shown(holder, connection="own")))
    with pytest.raises(UnauthenticatedError):
        callers.prove(connection.scope(other.token))


def test_a_thief_cannot_claim_a_connection(callers: Callers, holder: Client, site: Site) -> None:
    thief = site.client()
    thief.nonce, thief.token = holder.nonce, holder.token
    connection = Connection()
    with pytest.raises(UnauthenticatedError):
        callers.prove(connection.scope(holder.token, shown(thief, connection="own")))
    with pytest.raises(UnauthenticatedError):
        callers.prove(connection.scope(holder.token))


def test_without_tls_no_connection_is_anyones_own(callers: Callers, holder: Client) -> None:
    connection = Connection(scheme="http")
    callers.prove(connection.scope(holder.token, shown(holder, connection="own")))
    with pytest.raises(UnauthenticatedError):
        callers.prove(connection.scope(holder.token))


async def test_revocation_holds_on_an_owned_connection(callers: Callers, holder: Client) -> None:
    connection = Connection()
    callers.prove(connection.scope(holder.token, shown(holder, connection="own")))
    assert (await holder.send("POST", "/oauth/revoke", form={"token": holder.token})).status == 200
    with pytest.raises(UnauthenticatedError, match="revoked"):
        callers.prove(connection.scope(holder.token))


@pytest.mark.parametrize("name", [b"authorization", b"dpop"])
def test_a_header_that_stands_there_twice_is_refused(callers: Callers, holder: Client, name: bytes) -> None:
    with pytest.raises(InputError, match="more than once"):
        callers.prove(Connection().scope(holder.token, shown(holder), (name, b"x")))
