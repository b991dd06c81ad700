"""What this server does as an authorization server and OpenID provider, for whoever asks a well-known address."""

from typing import Any, Final

from everproof.identity.client_assertion import ASSERTION_TYPE
from everproof.identity.exchange import ACCESS_TOKEN, CLIENT_CREDENTIALS, EXCHANGE, JWT
from everproof.identity.provider.assurance import LEVELS
from everproof.identity.provider.clients import SCOPES
from everproof.identity.provider.tokens import USERINFO

TOKEN: Final = "/oauth/token"  # noqa: S105 - an address
INTROSPECT: Final = "/oauth/introspect"
REVOKE: Final = "/oauth/revoke"
JWKS: Final = "/jwks.json"
AUTHORIZE: Final = "/oauth/authorize"
PUSH: Final = "/oauth/par"
END_SESSION: Final = "/oauth/end_session"
DEVICE: Final = "/oauth/device_authorization"

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
GRANTS: Final = frozenset({CODE, DEVICE_CODE, REFRESH})
"""The grants that begin with a person at a browser."""


def metadata(issuer: str) -> dict[str, Any]:
    """RFC 8414, with OpenID Connect Discovery 1.0, RFC 8628, 9126, 9207, 9449, and the logout specifications."""
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZE,
        "pushed_authorization_request_endpoint": issuer + PUSH,
        "token_endpoint": issuer + TOKEN,
        "device_authorization_endpoint": issuer + DEVICE,
        "userinfo_endpoint": issuer + USERINFO,
        "end_session_endpoint": issuer + END_SESSION,
        "jwks_uri": issuer + JWKS,
        "introspection_endpoint": issuer + INTROSPECT,
        "revocation_endpoint": issuer + REVOKE,
        "grant_types_supported": [CODE, DEVICE_CODE, REFRESH, EXCHANGE, CLIENT_CREDENTIALS],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "acr_values_supported": list(LEVELS),
        "scopes_supported": list(SCOPES),
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid", "at_hash",
            "preferred_username", "name", "email", "email_verified", "groups",
        ],
        "claim_types_supported": ["normal"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "token_endpoint_auth_methods_supported": [
            "private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth", "none",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
        "client_assertion_types_supported": [ASSERTION_TYPE],
        "subject_token_types_supported": [JWT, ACCESS_TOKEN],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "tls_client_certificate_bound_access_tokens": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "service_documentation": f"{issuer}/openapi.json",
    }  # fmt: skip
