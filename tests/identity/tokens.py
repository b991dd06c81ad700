"""A token service over a real storage, with everything around it that a test may turn."""

from collections.abc import Sequence
from typing import Any

import msgspec

from everproof.identity import credential_store as store
from everproof.identity.access_tokens import AccessTokens
from everproof.identity.certificates import ClientCertificates
from everproof.identity.client_assertion import ClientAssertions, ClientKey
from everproof.identity.credentials import Credentials
from everproof.identity.dpop import Dpop
from everproof.identity.exchange import Exchange, Plan, TokenReply
from everproof.identity.external import ExternalTokens
from everproof.identity.jose import read_jws
from everproof.identity.jwk import VerificationKey
from everproof.identity.outbound import Outbound
from everproof.identity.records import Credential
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.identity.token_request import TokenRequest, read_token_request
from everproof.kernel.words import Principal, Ref
from everproof.keys import SigningKeys
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.caller import TOKEN_ENDPOINT, Caller

ISSUER = "https://everproof.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Records:
    """Who is on record, in memory, as tests turn it."""

    def __init__(self) -> None:
        self.principals: dict[Ref, Principal] = {}
        self.clients: dict[str, tuple[Principal, list[ClientKey]]] = {}

    def principal(self, ref: Ref) -> Principal | None:
        return self.principals.get(ref)

    def client(self, client_id: str) -> tuple[Principal, Sequence[ClientKey]] | None:
        return self.clients.get(client_id)

    def enrol(self, caller: Caller, name: str) -> Principal:
        """Make ``caller`` the service ``name``."""
        principal = Principal(ref=Ref("Service", name), parents=(Ref("Space", "main"),))
        self.principals[principal.ref] = principal
        key = VerificationKey("ES256", caller.key.public_key())
        self.clients[f"service:{name}"] = (principal, [ClientKey(caller.thumbprint, key)])
        return principal


class TokenService:
    """The token service; ``exchange`` as a caller sees it, with no policy between the two steps."""

    def __init__(self, storage: Storage, signing: SigningKeys, external: ExternalTokens, clock: SettableClock) -> None:
        self.storage = storage
        self.clock = clock
        self.records = Records()
        self.credentials = Credentials(storage, issuer=ISSUER)
        self.dpop = Dpop(storage.clock)
        self.tokens = AccessTokens(signing, storage.clock, issuer=ISSUER, live=self.credentials, directory=self.records)
        self.assertions = ClientAssertions(self.records, storage.clock, issuer=ISSUER, token_endpoint=TOKEN_ENDPOINT)
        self.exchange = Exchange(
            clock=storage.clock,
            tokens=self.tokens,
            external=external,
            assertions=self.assertions,
            certificates=ClientCertificates(SpiffeBundles(Outbound(), storage.clock), storage.clock, self.credentials),
            dpop=self.dpop,
            credentials=self.credentials,
            token_endpoint=TOKEN_ENDPOINT,
        )

    def issued(self, credential: str | None) -> Credential:
        """What is on record of a credential."""
        with self.storage.reading() as connection:
            found = store.find_credential(connection, str(credential))
        assert found is not None
        return found

    async def revoke(self, credential: str | None) -> None:
        """End a credential and all that descends from it."""
        await self.storage.write(lambda tx: self.credentials.revoke(tx, str(credential), "test"))

    def caller(self) -> Caller:
        """Somebody with a key."""
        return Caller(self.clock, self.dpop)

    async def prepare(self, caller: Caller | None, **fields: Any) -> Plan:
        request = self.request(**fields)
        return await self.exchange.prepare(request, dpop=caller.proof() if caller else None)

    def request(self, **fields: Any) -> TokenRequest:
        given = {"grant_type": EXCHANGE, **fields}
        return read_token_request([(name, value) for name, value in given.items() if value is not None])

    async def issue(self, plan: Plan) -> TokenReply:
        return await self.storage.write(lambda tx: self.exchange.issue(tx, plan))

    async def get(self, caller: Caller, **fields: Any) -> TokenReply:
        """A token, as a request for it brings it."""
        return await self.issue(await self.prepare(caller, **fields))

    async def for_job(self, caller: Caller, token: str, **fields: Any) -> TokenReply:
        """A token for a CI job's token."""
        return await self.get(caller, subject_token=token, subject_token_type=JWT, **fields)

    async def for_own(self, caller: Caller, token: str, **fields: Any) -> TokenReply:
        """A token for one of ours."""
        return await self.get(caller, subject_token=token, subject_token_type=ACCESS_TOKEN, **fields)

    async def for_client(self, caller: Caller, client: str, **changes: Any) -> TokenReply:
        """A token for a client that proves itself."""
        return await self.get(
            caller,
            grant_type="client_credentials",
            client_assertion_type=ASSERTION,
            client_assertion=caller.assertion(client, **changes),
        )


def claims_of(token: str) -> dict[str, Any]:
    """The claims of ``token``, not verified."""
    return msgspec.json.decode(read_jws(token).payload, type=dict[str, Any])
