"""How this server proves to a provider that it is the client: by its own signing keys, or by a secret.

An assertion is for the issuer, or for a token endpoint on the issuer's own origin: a provider that names another one's
endpoint as its own gets nothing that the other would take.
"""

import base64
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import quote_plus, urlsplit

from everproof.identity.client_assertion import ASSERTION_TYPE
from everproof.identity.jose import compact, header_segment
from everproof.identity.outbound import OutboundError
from everproof.identity.sign_on.files import Provider
from everproof.identity.sign_on.metadata import Metadata
from everproof.kernel.clock import HighWaterClock
from everproof.kernel.errors import UnavailableError
from everproof.keys import SigningKeys

ASSERTION_LIFETIME: Final = timedelta(seconds=60)

SecretOf = Callable[[Provider], str]
"""The secret of a provider's client, read where the settings say it lies; UnavailableError where it cannot be had."""


class NoSecretError(UnavailableError):
    """The client's secret is not where the settings say."""

    code = "sign-on-no-secret"


class ClientAuthentication:
    """Makes what a request of the client carries."""

    def __init__(self, signing: SigningKeys, clock: HighWaterClock, secret: SecretOf) -> None:
        self._signing = signing
        self._clock = clock
        self._secret = secret

    def of(self, provider: Provider, metadata: Metadata) -> tuple[dict[str, str], dict[str, str]]:
        """The headers and the form's fields by which ``provider`` knows this client.

        Raises:
            OutboundError: the provider takes no client in the way that the file says.
            UnavailableError: the secret cannot be read, or nothing can be signed now.
        """
        if provider.table.authentication == "private-key-jwt":
            return {}, self._assertion(provider, metadata)
        secret = self._secret(provider)
        if "client_secret_basic" in metadata.client_methods:
            # RFC 6749, section 2.3.1: both are encoded as a form would, before they are encoded as a header.
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}".encode()
            return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}, {}
        if "client_secret_post" in metadata.client_methods:
            return {}, {"client_id": provider.client_id, "client_secret": secret}
        raise OutboundError("takes no client secret", place=provider.issuer, todo=_other(provider, "private-key-jwt"))

    def _assertion(self, provider: Provider, metadata: Metadata) -> dict[str, str]:
        if "private_key_jwt" not in metadata.client_methods:
            todo = _other(provider, "client-secret")
            raise OutboundError("takes no client's assertions", place=provider.issuer, todo=todo)
        algorithm = next((one for one in ("ES256", "RS256") if one in metadata.assertion_algorithms), "RS256")
        key = self._signing.current("ES256" if algorithm == "ES256" else "RS256")
        now = int(self._clock.issuing_time().timestamp())
        claims = {
            "iss": provider.client_id,
            "sub": provider.client_id,
            "aud": _audience(provider, metadata),
            "iat": now,
            "exp": now + int(ASSERTION_LIFETIME.total_seconds()),
            "jti": secrets.token_urlsafe(16),
        }
        header = header_segment({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"})
        signed = compact(header, claims, "ES256" if key.algorithm == "ES256" else "RS256", key.private)
        return {
            "client_id": provider.client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": signed,
        }  # fmt: skip


def _audience(provider: Provider, metadata: Metadata) -> str:
    if provider.kind.assertion_audience == "issuer":
        return provider.issuer
    if urlsplit(metadata.token_endpoint)[:2] != urlsplit(provider.issuer)[:2]:
        raise OutboundError("its token endpoint is elsewhere", place=provider.issuer)
    return metadata.token_endpoint


def _other(provider: Provider, method: str) -> str:
    return f'write authentication = "{method}" in sign-on/{provider.name}.toml'
