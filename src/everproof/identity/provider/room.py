"""The provider put together: what its doors ask of it."""

from everproof.identity.client_assertion import ClientAssertions
from everproof.identity.outbound import Outbound
from everproof.identity.provider import store
from everproof.identity.provider.authentication import ClientAuthentication
from everproof.identity.provider.clients import Clients
from everproof.identity.provider.issuing import Issuing
from everproof.identity.provider.resuming import Resuming
from everproof.identity.provider.sign_ins import SignIns
from everproof.identity.provider.tokens import ProviderTokens
from everproof.identity.room import Identity
from everproof.keys import SigningKeys
from everproof.storage import Storage, Transaction
from everproof.work import Work
from everproof.work.notices import Notices


class Provider:
    """This server as an OpenID provider. ``issuer`` is its own address."""

    def __init__(
        self,
        storage: Storage,
        signing: SigningKeys,
        identity: Identity,
        work: Work,
        outbound: Outbound,
        *,
        notices: Notices,
        issuer: str,
        token_endpoint: str,
    ) -> None:
        clock = storage.clock
        self.clients = Clients()
        assertions = ClientAssertions(self.clients, clock, issuer=issuer, token_endpoint=token_endpoint)
        self.authentication = ClientAuthentication(self.clients, assertions)
        self.tokens = ProviderTokens(signing, identity.tokens, clock, issuer=issuer)
        self.resuming = Resuming(clock, signing.derived("everproof/provider/seen/v1"))
        self.sign_ins = SignIns(
            storage,
            work,
            clients=self.clients,
            sessions=identity.sessions,
            directory=identity.directory,
            tokens=self.tokens,
            outbound=outbound,
        )
        self.issuing = Issuing(
            tokens=self.tokens,
            credentials=identity.credentials,
            exchange=identity.exchange,
            sessions=identity.sessions,
            sign_ins=self.sign_ins,
            notices=notices,
        )

    @staticmethod
    def forget(tx: Transaction) -> None:
        """Remove what no request can be about any more."""
        store.forget(tx)
