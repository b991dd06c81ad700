"""The room put together: what the doors and the floors above ask of identity."""

from datetime import datetime

from everproof.identity.access_tokens import AccessTokens
from everproof.identity.bindings import TrustBindings
from everproof.identity.certificates import ClientCertificates
from everproof.identity.challenges import Challenges
from everproof.identity.client_assertion import ClientAssertions
from everproof.identity.credential_store import forget_credentials
from everproof.identity.credentials import Credentials
from everproof.identity.directory import Directory
from everproof.identity.dpop import Dpop
from everproof.identity.enrolment import Enrolment
from everproof.identity.exchange import Exchange
from everproof.identity.external import ExternalTokens
from everproof.identity.jwks import IssuerKeys
from everproof.identity.machines import Machines
from everproof.identity.outbound import Outbound
from everproof.identity.proofs import Proofs
from everproof.identity.replay_store import forget_expired
from everproof.identity.sessions import Sessions
from everproof.identity.sign_on import SignOn
from everproof.identity.spiffe_bundles import SpiffeBundles
from everproof.identity.ssh_login import SshLogin
from everproof.keys import SigningKeys
from everproof.storage import Storage, Transaction


class Identity:
    """Who exists, what was issued, and how each proves itself. ``issuer`` is this server's own address.

    Nobody else's token or certificate is believed until ``trust`` is given the bindings of the ruling bundle.
    """

    def __init__(
        self, storage: Storage, signing: SigningKeys, outbound: Outbound, *, issuer: str, token_endpoint: str
    ) -> None:
        clock = storage.clock
        self.directory = Directory(storage)
        self.credentials = Credentials(storage, issuer=issuer)
        self.proofs = Proofs(self.directory, self.credentials)
        self.sessions = Sessions(storage, self.credentials, self.directory, issuer=issuer)
        self.sign_on = SignOn(storage, self.directory, self.sessions, signing, outbound, issuer=issuer)
        challenges = Challenges(clock, server=issuer, key=signing.derived("everproof/challenges/v1"))
        self.login = SshLogin(self.directory, challenges, clock)
        self.enrolment = Enrolment(storage, challenges)
        self.machines = Machines(storage)
        self.dpop = Dpop(clock)
        self.bundles = SpiffeBundles(outbound, clock)
        self.certificates = ClientCertificates(self.bundles, clock, self.credentials)
        self.external = ExternalTokens(IssuerKeys(outbound, clock), clock, self.bundles)
        self.tokens = AccessTokens(
            signing, clock, issuer=issuer, live=self.credentials, directory=self.directory, sessions=self.sessions
        )
        self.exchange = Exchange(
            clock=clock,
            tokens=self.tokens,
            external=self.external,
            assertions=ClientAssertions(self.directory, clock, issuer=issuer, token_endpoint=token_endpoint),
            certificates=self.certificates,
            dpop=self.dpop,
            credentials=self.credentials,
            token_endpoint=token_endpoint,
        )

    def trust(self, bindings: TrustBindings) -> None:
        """Trust ``bindings`` from now on, and nothing else."""
        self.external.trust(bindings)
        self.certificates.trust(bindings)

    def forget(self, tx: Transaction, *, lineage_before: datetime) -> None:
        """Remove what no request can be about any more, and the lineage of what expired before ``lineage_before``."""
        self.sessions.forget(tx)
        self.sign_on.forget(tx)
        forget_expired(tx)
        forget_credentials(tx, lineage_before)
