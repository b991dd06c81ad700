import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from everproof.identity.external import ExternalTokens
from everproof.identity.jwks import IssuerKeys
from everproof.identity.outbound import Outbound
from everproof.keys import Keyring, PrivateKey, SigningKeys, open_root_key, signing
from everproof.storage import Storage
from tests.conftest import SettableClock
from tests.identity.tokens import TokenService
from tests.identity.trust import AUDIENCE, trusting
from tests.issuer import Issuer, github_claims, running


@pytest.fixture(scope="session")
def running_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with running(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Iterator[Issuer]:
    """A real issuer over HTTPS, behaving, with nothing fetched from it yet."""
    kept = dict(running_issuer.keys), running_issuer.current
    running_issuer.fetches.clear()
    yield running_issuer
    running_issuer.keys, running_issuer.current = kept
    running_issuer.failing = False
    running_issuer.discovery = {}
    running_issuer.answers = {}


@pytest.fixture
def outbound(issuer: Issuer) -> Outbound:
    return Outbound(ca_file=issuer.ca_file, private_hosts=["127.0.0.1"], timeout_seconds=5)


@pytest.fixture
def keys(outbound: Outbound, clock: SettableClock) -> IssuerKeys:
    return IssuerKeys(outbound, clock)


@pytest.fixture
def unknown() -> list[tuple[str, str]]:
    """Unknown claims that were told."""
    return []


@pytest.fixture
def external(issuer: Issuer, keys: IssuerKeys, clock: SettableClock, unknown: list[tuple[str, str]]) -> ExternalTokens:
    """A verifier that trusts jobs of acme/shop's protected main branch."""
    tokens = ExternalTokens(keys, clock)
    tokens.on_unknown_claim(lambda issuer, claim: unknown.append((issuer, claim)))
    tokens.trust(trusting(issuer.url))
    return tokens


@pytest.fixture
def job_token(issuer: Issuer, clock: SettableClock) -> str:
    """The token of a job that is trusted."""
    return issuer.mint(github_claims(clock.now(), audience=AUDIENCE))


@pytest.fixture(scope="session")
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


@pytest.fixture(autouse=True)
def one_rsa_key(rsa_keys: list[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing keys are made for each storage, and RSA keys take their time: in this folder the same pair serves."""
    turns = itertools.cycle(rsa_keys)
    make = signing._generate

    def generate(algorithm: signing.Algorithm) -> PrivateKey:
        return next(turns) if algorithm == "RS256" else make(algorithm)

    monkeypatch.setattr(signing, "_generate", generate)


@pytest.fixture
async def service(
    database_url: str, tmp_path: Path, clock: SettableClock, external: ExternalTokens
) -> AsyncIterator[TokenService]:
    """A token service over each of the two databases."""
    storage = Storage.open(database_url, clock=clock)
    keys = SigningKeys(storage, Keyring(storage, open_root_key("", tmp_path / "root")))
    await storage.start()
    yield TokenService(storage, keys, external, clock)
    await storage.stop()
